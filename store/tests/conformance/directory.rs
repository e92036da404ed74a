//! People, logins, secrets and idempotency keys.

use enfilade_proto::{LoginId, UserId, Username};
use enfilade_store::{Directory, Idempotency, NewUser, StoreError, UserRow};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{name, new_login, new_user, somebody};

// ---- people ---------------------------------------------------------------------------------------------------

fn row(user: &NewUser) -> UserRow {
    UserRow {
        id: user.id,
        username: user.username.clone(),
        name: user.name.clone(),
        password_hash: user.password_hash.clone(),
        created_ms: user.created_ms,
    }
}

pub(crate) async fn a_person_is_found_by_id_and_by_username(directory: &dyn Directory) {
    let user = new_user("grace.hopper");
    directory.create_user(&user).await.unwrap();
    assert_eq!(directory.user(user.id).await.unwrap(), Some(row(&user)));
    let typed = Username::new("Grace.Hopper").unwrap();
    assert_eq!(directory.user_by_name(&typed).await.unwrap(), Some(row(&user)));
    assert_eq!(directory.user(UserId(Uuid::new_v4())).await.unwrap(), None);
    assert_eq!(directory.user_by_name(&Username::new("nobody").unwrap()).await.unwrap(), None);
}

pub(crate) async fn a_username_is_taken_in_every_case(directory: &dyn Directory) {
    directory.create_user(&new_user("ada")).await.unwrap();
    for taken in ["ada", "ADA", "Ada"] {
        let refused = directory.create_user(&new_user(taken)).await;
        assert!(matches!(refused, Err(StoreError::Exists)), "{taken}: {refused:?}");
    }
    directory.create_user(&new_user("ada2")).await.unwrap();
}

pub(crate) async fn of_many_who_want_a_username_one_gets_it(directory: &dyn Directory) {
    let users: Vec<NewUser> = (0..12).map(|_| new_user("popular")).collect();
    let results = join_all(users.iter().map(|user| directory.create_user(user))).await;
    let winners: Vec<usize> = (0..users.len()).filter(|i| results[*i].is_ok()).collect();
    let [winner] = winners[..] else { panic!("{results:?}") };
    assert!(results.iter().enumerate().all(|(i, r)| i == winner || matches!(r, Err(StoreError::Exists))));
    let found = directory.user_by_name(&users[winner].username).await.unwrap().unwrap();
    assert_eq!(found.id, users[winner].id);
}

pub(crate) async fn a_person_changes_name_and_password(directory: &dyn Directory) {
    let user = new_user("lovelace");
    directory.create_user(&user).await.unwrap();
    directory.rename_user(user.id, &name("Countess")).await.unwrap();
    directory.set_password_hash(user.id, "$argon2id$new").await.unwrap();
    let found = directory.user(user.id).await.unwrap().unwrap();
    assert_eq!((found.name, &*found.password_hash), (name("Countess"), "$argon2id$new"));
    let nobody = UserId(Uuid::new_v4());
    assert!(matches!(directory.rename_user(nobody, &name("X")).await, Err(StoreError::Missing)));
    assert!(matches!(directory.set_password_hash(nobody, "x").await, Err(StoreError::Missing)));
}

// ---- logins ---------------------------------------------------------------------------------------------------

pub(crate) async fn a_login_is_kept_until_it_ends(directory: &dyn Directory) {
    let user = somebody(directory).await;
    let login = new_login(user, 100);
    assert_eq!(directory.create_login(&login, 5).await.unwrap(), []);
    assert_eq!(directory.login(login.id).await.unwrap(), Some(login.clone()));
    assert_eq!(directory.logins(user).await.unwrap(), std::slice::from_ref(&login));
    assert!(matches!(directory.create_login(&login, 5).await, Err(StoreError::Exists)));
    assert!(directory.end_login(login.id).await.unwrap());
    assert!(!directory.end_login(login.id).await.unwrap());
    assert_eq!(directory.login(login.id).await.unwrap(), None);
    assert_eq!(directory.logins(user).await.unwrap(), []);
}

pub(crate) async fn nobody_logs_in_without_an_account(directory: &dyn Directory) {
    let refused = directory.create_login(&new_login(UserId(Uuid::new_v4()), 1), 5).await;
    assert!(matches!(refused, Err(StoreError::Missing)), "{refused:?}");
}

pub(crate) async fn a_refresh_token_is_rotated_once(directory: &dyn Directory) {
    let user = somebody(directory).await;
    let login = new_login(user, 100);
    directory.create_login(&login, 5).await.unwrap();
    for counter in 0..5 {
        let rotations = join_all((0..8).map(|i| directory.rotate_login(login.id, counter, 200 + i))).await;
        let rotated = rotations.into_iter().filter(|rotated| *rotated.as_ref().unwrap()).count();
        assert_eq!(rotated, 1, "from {counter}");
    }
    assert!(!directory.rotate_login(login.id, 4, 999).await.unwrap(), "an old counter");
    assert!(!directory.rotate_login(login.id, 6, 999).await.unwrap(), "a counter to come");
    assert!(!directory.rotate_login(LoginId(Uuid::new_v4()), 0, 999).await.unwrap(), "no login");
    let found = directory.login(login.id).await.unwrap().unwrap();
    assert_eq!(found.counter, 5);
    assert!((200..208).contains(&found.rotated_ms));
}

pub(crate) async fn the_oldest_logins_end_when_there_are_too_many(directory: &dyn Directory) {
    let (user, other) = (somebody(directory).await, somebody(directory).await);
    let theirs = new_login(other, 1);
    directory.create_login(&theirs, 3).await.unwrap();
    let logins: Vec<_> = (0..5).map(|i| new_login(user, 1_000 + i)).collect();
    for login in &logins[..3] {
        assert_eq!(directory.create_login(login, 3).await.unwrap(), []);
    }
    assert_eq!(directory.create_login(&logins[3], 3).await.unwrap(), [logins[0].id]);
    let ended = directory.create_login(&logins[4], 1).await.unwrap();
    assert_eq!(sorted(ended), sorted(vec![logins[1].id, logins[2].id, logins[3].id]));
    // A clock that went back does not end the login that is just made.
    let late = new_login(user, 1);
    assert_eq!(directory.create_login(&late, 1).await.unwrap(), [logins[4].id]);
    assert_eq!(directory.logins(user).await.unwrap(), [late]);
    assert_eq!(directory.logins(other).await.unwrap(), [theirs]);
}

pub(crate) async fn signing_out_everywhere_ends_all_logins_of_one_person(directory: &dyn Directory) {
    let (user, other) = (somebody(directory).await, somebody(directory).await);
    let theirs = new_login(other, 1);
    directory.create_login(&theirs, 3).await.unwrap();
    let logins: Vec<_> = (0..3).map(|i| new_login(user, i)).collect();
    for login in &logins {
        directory.create_login(login, 3).await.unwrap();
    }
    let newest_first: Vec<_> = logins.iter().rev().cloned().collect();
    assert_eq!(directory.logins(user).await.unwrap(), newest_first);
    let ended = directory.end_logins(user).await.unwrap();
    assert_eq!(sorted(ended), sorted(logins.iter().map(|login| login.id).collect()));
    assert_eq!(directory.end_logins(user).await.unwrap(), []);
    assert_eq!(directory.logins(other).await.unwrap(), [theirs]);
}

fn sorted(mut ids: Vec<LoginId>) -> Vec<LoginId> {
    ids.sort();
    ids
}

// ---- secrets --------------------------------------------------------------------------------------------------

pub(crate) async fn the_first_secret_offered_is_everybodys(directory: &dyn Directory) {
    let offers: Vec<Vec<u8>> = (0..8).map(|n| vec![n; 32]).collect();
    let kept = join_all(offers.iter().map(|offer| directory.secret("signing key", offer))).await;
    let kept: Vec<Vec<u8>> = kept.into_iter().map(|kept| kept.unwrap()).collect();
    assert!(offers.contains(&kept[0]));
    assert!(kept.iter().all(|other| *other == kept[0]));
    assert_eq!(directory.secret("signing key", b"late").await.unwrap(), kept[0]);
    assert_eq!(directory.secret("another", b"").await.unwrap(), b"");
    assert_eq!(directory.secret("another", b"late").await.unwrap(), b"");
}

// ---- idempotency ----------------------------------------------------------------------------------------------

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const NOW: u64 = 1_700_000_000_000;

pub(crate) async fn a_request_that_is_repeated_gets_the_same_answer(directory: &dyn Directory) {
    let (key, same, other) = ("key-1", [1; 32], [2; 32]);
    let begin = |fingerprint, now_ms| async move {
        directory.begin_idempotent(key, &fingerprint, now_ms).await.unwrap()
    };
    assert_eq!(begin(same, NOW).await, Idempotency::New);
    assert_eq!(begin(same, NOW + 1).await, Idempotency::InProgress);
    assert_eq!(begin(other, NOW + 1).await, Idempotency::Mismatch);
    directory.finish_idempotent(key, Some((201, "{\"id\":1}")), NOW + 2).await.unwrap();
    let done = Idempotency::Done { status: 201, body: "{\"id\":1}".into() };
    assert_eq!(begin(same, NOW + 3).await, done);
    assert_eq!(begin(other, NOW + 3).await, Idempotency::Mismatch);
    // An answer stands; another does not replace it, nor does a failure free the key.
    directory.finish_idempotent(key, Some((500, "")), NOW + 4).await.unwrap();
    directory.finish_idempotent(key, None, NOW + 4).await.unwrap();
    assert_eq!(begin(same, NOW + 1 + DAY).await, done);
    assert_eq!(begin(other, NOW + 2 + DAY).await, Idempotency::New, "forgotten after a day");
}

pub(crate) async fn a_key_is_free_again_when_its_request_failed_or_hangs(directory: &dyn Directory) {
    let (key, same, other) = ("key-2", [1; 32], [2; 32]);
    let begin = |fingerprint, now_ms| async move {
        directory.begin_idempotent(key, &fingerprint, now_ms).await.unwrap()
    };
    assert_eq!(begin(same, NOW).await, Idempotency::New);
    directory.finish_idempotent(key, None, NOW).await.unwrap();
    assert_eq!(begin(other, NOW).await, Idempotency::New);
    assert_eq!(begin(other, NOW + MINUTE - 1).await, Idempotency::InProgress);
    assert_eq!(begin(same, NOW + MINUTE).await, Idempotency::New, "it did not answer for a minute");
    directory.finish_idempotent("unknown", Some((200, "x")), NOW).await.unwrap();
    assert_eq!(directory.begin_idempotent("unknown", &same, NOW).await.unwrap(), Idempotency::New);
}

pub(crate) async fn of_many_equal_requests_one_is_worked_on(directory: &dyn Directory) {
    let begun = join_all((0..10).map(|_| directory.begin_idempotent("key-3", &[3; 32], NOW))).await;
    let begun: Vec<Idempotency> = begun.into_iter().map(|begun| begun.unwrap()).collect();
    assert_eq!(begun.iter().filter(|state| **state == Idempotency::New).count(), 1);
    assert_eq!(begun.iter().filter(|state| **state == Idempotency::InProgress).count(), 9);
}
