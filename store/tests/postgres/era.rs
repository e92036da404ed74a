//! After the database was restored to an earlier time.

use enfilade_proto::{Position, Seq};
use enfilade_store::{DatabaseUrl, Outcome, Ownership as _, RoomLog as _, Shard, StoreError, after_restore};

use super::Place;
use super::conformance::{LEASE, Owner, a_room, batch};

#[tokio::test]
async fn a_new_era_begins_while_no_node_runs() {
    let place = Place::new().await;
    let url: DatabaseUrl = place.0.parse().unwrap();
    let empty = after_restore(&url).await;
    assert!(matches!(empty, Err(StoreError::Schema { found: 0, .. })), "{empty:?}");
    let store = place.open().await;
    let room = a_room(&store, None).await;
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    store.append(owner.incarnation, &[batch(room, epoch, 1, 1)]).await.unwrap();
    let before = Position { epoch, seq: Seq(1) };
    let in_use = after_restore(&url).await;
    assert!(matches!(in_use, Err(StoreError::InUse)), "{in_use:?}");
    // What a restored database knows of the nodes of then: alive, and long silent.
    place.sql("UPDATE node SET lease_until = clock_timestamp() - interval '1 day'").await;
    let first = after_restore(&url).await.unwrap();
    let second = after_restore(&url).await.unwrap();
    assert!(epoch.era() < first.era() && first.era() < second.era());
    assert_eq!(
        store.append(owner.incarnation, &[batch(room, epoch, 2, 2)]).await.unwrap(),
        [Outcome::Fenced]
    );
    assert!(
        store.renew(owner.incarnation, super::conformance::ownership::ALIVE, LEASE).await.unwrap().is_none()
    );
    let heir = Owner::new(&store).await;
    let epoch = heir.claim(room).await;
    assert_eq!(epoch.0, second.0 + 1);
    assert!(!before.leads_to(Position { epoch, seq: Seq(1) }));
    let claimed = store.claim(heir.incarnation, &[Shard::new(0).unwrap()]).await.unwrap();
    assert!(claimed.iter().all(|(_, epoch)| epoch.era() == second.era()));
    store.append(heir.incarnation, &[batch(room, epoch, 2, 2)]).await.unwrap();
    store.close().await;
}
