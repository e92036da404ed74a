//! Backups of SQLite: made while it is worked on, checked, restored; and what a restore promises.

#![allow(clippy::unwrap_used, reason = "what a test did not expect ends it")]

#[macro_use]
#[allow(dead_code, unused_macros, reason = "only what makes owners and batches is of use here")]
mod conformance;

use std::fs;
use std::io;
use std::path::PathBuf;

use conformance::{Owner, a_room, batch, somebody};
use enfilade_proto::{Epoch, Position, RoomId, Seq};
use enfilade_store::backup::{self, BackupError, Contents};
use enfilade_store::{
    DatabaseUrl, Directory, Incarnation, Outcome, Ownership as _, RoomLog as _, Shard, Sqlite, SqliteOptions,
    StoreError, after_restore,
};
use tempfile::TempDir;
use uuid::Uuid;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("enfilade.db")
    }

    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.database())
    }

    async fn open(&self) -> Sqlite {
        let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
        Sqlite::open(self.database(), options).await.unwrap()
    }

    async fn back_up(&self, name: &str) -> Result<backup::Manifest, BackupError> {
        backup::make(&self.database(), &self.path(name), "0.1.0").await
    }

    async fn restore(&self, name: &str, replace: bool) -> Result<backup::Restored, BackupError> {
        backup::restore(&self.path(name), &self.database(), replace).await
    }

    /// What is there, with its contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

/// A room with a log of this many ops, each a batch; returns the epoch.
async fn write(store: &Sqlite, room: RoomId, from: u64, to: u64) -> Epoch {
    let owner = Owner::new(store).await;
    let epoch = owner.claim(room).await;
    for seq in from..=to {
        let outcome = store.append(owner.incarnation, &[batch(room, epoch, seq, seq)]).await.unwrap();
        assert_eq!(outcome, [Outcome::Committed]);
    }
    epoch
}

async fn head(store: &Sqlite, room: RoomId) -> Option<Seq> {
    store.read(room, Seq(0), usize::MAX).await.unwrap().last().map(|row| row.last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_as_of_one_moment_however_much_is_written_meanwhile() {
    let place = Place::new();
    let store = place.open().await;
    let person = somebody(&store).await;
    let room = a_room(&store, Some(person)).await;
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    let mut seq = 0;
    let (database, file) = (place.database(), place.path("backup"));
    let backing_up = tokio::spawn(async move { backup::make(&database, &file, "0.1.0").await });
    // Two rows always come together, so a backup that has half of them is of no one moment.
    while !backing_up.is_finished() || seq < 40 {
        let pair = [batch(room, epoch, seq + 1, seq + 1), batch(room, epoch, seq + 2, seq + 2)];
        store.append(owner.incarnation, &pair).await.unwrap();
        seq += 2;
    }
    let manifest = backing_up.await.unwrap().unwrap();
    let Contents { people, rooms, ops, .. } = manifest.contents;
    assert_eq!((people, rooms), (1, 1));
    assert!(ops <= seq && ops.is_multiple_of(2), "{ops} of {seq}");
    assert_eq!(backup::check(&place.path("backup")).await.unwrap(), manifest);
    assert!(!place.path("backup.partial").exists());
    store.close().await;
    // One that nobody works on is backed up as well.
    assert_eq!(place.back_up("later").await.unwrap().contents.ops, seq);
}

#[tokio::test]
async fn what_was_restored_is_what_was_backed_up_and_what_was_there_is_set_aside() {
    let place = Place::new();
    let store = place.open().await;
    let room = a_room(&store, None).await;
    write(&store, room, 1, 5).await;
    place.back_up("backup").await.unwrap();
    let lost = a_room(&store, None).await;
    write(&store, room, 6, 9).await;
    let in_use = place.restore("backup", true).await.unwrap_err();
    assert!(matches!(in_use, BackupError::Store(StoreError::InUse)), "{in_use}");
    store.close().await;
    let refused = place.restore("backup", false).await.unwrap_err();
    assert!(matches!(refused, BackupError::Occupied(_)) && refused.to_string().contains("--force"));
    let restored = place.restore("backup", true).await.unwrap();
    let store = place.open().await;
    assert_eq!(head(&store, room).await, Some(Seq(5)));
    assert!(store.room(lost).await.unwrap().is_none());
    store.close().await;
    let aside = Sqlite::open(restored.aside.unwrap(), SqliteOptions::default()).await.unwrap();
    assert_eq!(head(&aside, room).await, Some(Seq(9)));
    assert!(aside.room(lost).await.unwrap().is_some());
    aside.close().await;
}

#[tokio::test]
async fn a_restored_database_begins_an_era_in_which_no_former_position_counts() {
    let place = Place::new();
    let store = place.open().await;
    let room = a_room(&store, None).await;
    let never_owned = Shard::new(4_095 - Shard::of(room).number() % 2).unwrap();
    write(&store, room, 1, 5).await;
    place.back_up("backup").await.unwrap();
    let mut told = vec![Position { epoch: write(&store, room, 6, 9).await, seq: Seq(9) }];
    store.close().await;
    // Several times within a second, too, and each time from the same backup.
    for _ in 0..3 {
        let restored = place.restore("backup", true).await.unwrap();
        let store = place.open().await;
        let epoch = write(&store, room, 6, 7).await;
        assert!(epoch > restored.epoch && epoch.era() == restored.epoch.era());
        let now = Position { epoch, seq: Seq(7) };
        let older = told.iter().flat_map(|past| (0..=9).map(|seq| Position { seq: Seq(seq), ..*past }));
        assert!(older.into_iter().all(|position| !position.leads_to(now)));
        assert!(Position { epoch, seq: Seq(6) }.leads_to(now));
        let owner = Owner::new(&store).await;
        let claimed = owner.take(&[never_owned]).await[&never_owned];
        assert_eq!(claimed.era(), epoch.era(), "a shard that never had an owner");
        told.push(now);
        store.close().await;
    }
}

#[tokio::test]
async fn whoever_owned_a_shard_before_can_no_longer_write() {
    let place = Place::new();
    let store = place.open().await;
    let room = a_room(&store, None).await;
    let owner = Owner::new(&store).await;
    let (incarnation, epoch) = (owner.incarnation, owner.claim(room).await);
    store.close().await;
    assert!(after_restore(&place.url()).await.unwrap() > epoch);
    let store = place.open().await;
    assert_eq!(store.append(incarnation, &[batch(room, epoch, 1, 1)]).await.unwrap(), [Outcome::Fenced]);
    assert_eq!(store.claim(incarnation, &[Shard::of(room)]).await.unwrap(), []);
    let view = store.view().await.unwrap();
    assert!(
        view.nodes.is_empty() && view.owners.iter().all(|(_, owner, _)| *owner == Incarnation(Uuid::nil()))
    );
    let in_use = after_restore(&place.url()).await;
    assert!(matches!(in_use, Err(StoreError::InUse)), "{in_use:?}");
    store.close().await;
}

#[tokio::test]
async fn a_broken_backup_is_refused_and_nothing_is_touched() {
    let place = Place::new();
    let store = place.open().await;
    let room = a_room(&store, None).await;
    write(&store, room, 1, 50).await;
    place.back_up("backup").await.unwrap();
    store.close().await;
    let whole = fs::read(place.path("backup")).unwrap();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let manifest = String::from_utf8(whole[whole.len() - 200..].to_vec()).unwrap();
    let lied =
        [&whole[..whole.len() - 200], manifest.replace("\"ops\":50", "\"ops\":51").as_bytes()].concat();
    assert_ne!(lied, whole);
    let cases = [
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("cut off by a byte", whole[..whole.len() - 1].to_vec()),
        ("a bit of a page flipped", changed(whole.len() / 3)),
        ("a bit of the first page flipped", changed(20)),
        ("what the manifest says", lied),
        ("added to", [&whole[..], b"\n"].concat()),
        ("empty", Vec::new()),
        ("something else", b"a shopping list\n".repeat(1_000)),
    ];
    for (what, bytes) in cases {
        fs::write(place.path("broken"), bytes).unwrap();
        let before = place.files();
        for refused in [
            place.restore("broken", true).await.map(drop),
            backup::check(&place.path("broken")).await.map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, BackupError::Broken(_)), "{what}: {refused}");
        }
        assert!(place.files() == before, "{what}");
    }
    let missing = place.restore("nowhere", true).await.unwrap_err();
    assert!(matches!(missing, BackupError::File { .. }), "{missing}");
}

#[tokio::test]
async fn a_damaged_database_is_not_backed_up_but_can_be_replaced() {
    let place = Place::new();
    let store = place.open().await;
    let room = a_room(&store, None).await;
    write(&store, room, 1, 50).await;
    place.back_up("backup").await.unwrap();
    store.close().await;
    let mut bytes = fs::read(place.database()).unwrap();
    bytes[..4_096].fill(7);
    fs::write(place.database(), &bytes).unwrap();
    fs::write(place.path("enfilade.db-wal"), b"left by a crash").unwrap();
    assert!(place.back_up("another").await.is_err());
    assert!(!place.path("another").exists() && !place.path("another.partial").exists());
    let restored = place.restore("backup", true).await.unwrap();
    let store = place.open().await;
    assert_eq!(head(&store, room).await, Some(Seq(50)));
    store.close().await;
    assert_eq!(fs::read(restored.aside.unwrap()).unwrap(), bytes);
    assert!(!place.path("enfilade.db-wal").exists());
}

#[tokio::test]
async fn a_restore_that_was_cut_short_is_done_again() {
    let place = Place::new();
    let store = place.open().await;
    let room = a_room(&store, None).await;
    write(&store, room, 1, 3).await;
    place.back_up("backup").await.unwrap();
    store.close().await;
    let store = place.open().await;
    write(&store, room, 4, 9).await;
    // A crash before the last step leaves the database, and beside it half of the next one: here of one that goes further, with a
    // log that SQLite would take for the backup's.
    let leave = |name: &str| {
        for part in ["", "-wal"] {
            fs::copy(place.path(&format!("enfilade.db{part}")), place.path(&format!("{name}{part}")))
                .unwrap();
        }
    };
    leave("enfilade.db.restoring");
    leave("left");
    assert_eq!(head(&store, room).await, Some(Seq(9)));
    store.close().await;
    place.restore("backup", true).await.unwrap();
    let store = place.open().await;
    assert_eq!(head(&store, room).await, Some(Seq(3)));
    store.close().await;
    assert!(
        !place.path("enfilade.db.restoring").exists() && !place.path("enfilade.db.restoring-wal").exists()
    );
    // The same with a log whose database is gone.
    fs::remove_file(place.database()).unwrap();
    fs::rename(place.path("left-wal"), place.path("enfilade.db-wal")).unwrap();
    assert!(matches!(place.restore("backup", false).await, Err(BackupError::Occupied(_))));
    place.restore("backup", true).await.unwrap();
    let store = place.open().await;
    assert_eq!(head(&store, room).await, Some(Seq(3)));
    store.close().await;
}

#[tokio::test]
async fn one_backup_is_made_at_a_time() {
    let place = Place::new();
    place.open().await.close().await;
    let lock = fs::File::create(place.path("enfilade.db.backup.lock")).unwrap();
    lock.lock().unwrap();
    let refused = place.back_up("backup").await.unwrap_err();
    assert!(matches!(refused, BackupError::Store(StoreError::InUse)), "{refused}");
    lock.unlock().unwrap();
    place.back_up("backup").await.unwrap();
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_nobody_else_can_read_it() {
    let place = Place::new();
    let nothing = place.back_up("backup").await.unwrap_err();
    assert!(matches!(nothing, BackupError::NoDatabase(_)), "{nothing}");
    place.open().await.close().await;
    place.back_up("backup").await.unwrap();
    let again = place.back_up("backup").await.unwrap_err();
    assert!(matches!(again, BackupError::Exists(_)), "{again}");
    let nowhere = place.back_up("no/such/folder/backup").await.unwrap_err();
    assert!(
        matches!(&nowhere, BackupError::File { source, .. } if source.kind() == io::ErrorKind::NotFound),
        "{nowhere}"
    );
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(place.path("backup")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o077, 0, "secrets are in it");
    }
}
