//! Signing up, in and out, refreshing, and the devices on which a person is signed in.

use std::fmt;
use std::net::IpAddr;

use enfilade_proto::{DisplayName, ErrorCode, InvalidName, LoginId, User, UserId, Username};
use enfilade_store::{LoginRow, NewUser, StoreError, UserRow};
use uuid::Uuid;

use super::login::{IDLE_MS, LIFE_MS, MOST, RefreshToken, Verdict, judge};
use super::password::{Checked, acceptable};
use super::{FieldError, People, Refusal, may_have_happened};

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct Whence {
    pub address: IpAddr,
    /// What the person would recognise the device by; cut to 200 characters.
    pub device: String,
}

/// What somebody who signs up says.
#[derive(Clone)]
pub struct SignUp {
    pub username: String,
    pub password: String,
    /// The username, unless given.
    pub name: Option<String>,
}

/// A signed-in device, as it is told about itself.
#[derive(Clone)]
pub struct Session {
    pub user: User,
    pub access_token: String,
    pub refresh_token: String,
    /// How long the refresh token holds if it is not used.
    pub refresh_life_ms: u64,
}

// Whoever prints these prints no secret.

impl fmt::Debug for SignUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignUp").field("username", &self.username).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A person, as told to themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub id: UserId,
    pub username: Username,
    pub name: DisplayName,
    pub created_ms: u64,
}

/// A refresh that loses this many races in a row is told to come back.
const ROTATION_TRIES: u32 = 4;

impl People {
    /// Makes an account and signs in.
    ///
    /// # Errors
    /// `invalid_name`, `weak_password`, `username_taken`, `rate_limited`, `busy`.
    pub async fn sign_up(&self, person: &SignUp, from: &Whence) -> Result<Session, Refusal> {
        let now_ms = self.now_ms();
        let (username, name) = examine(person)?;
        self.limits.sign_up(from.address.into(), now_ms)?;
        // Before the costly part; the store decides.
        if self.directory.user_by_name(&username).await?.is_some() {
            return Err(taken());
        }
        let password_hash = self.passwords.hash(&person.password).await?;
        let user = NewUser { id: UserId(Uuid::new_v4()), username, name, password_hash, created_ms: now_ms };
        match self.directory.create_user(&user).await {
            Err(StoreError::Exists) => return Err(taken()),
            outcome => outcome?,
        }
        self.start_login(User { id: user.id, name: user.name, guest: false }, from).await
    }

    /// # Errors
    /// `invalid_credentials`, the same for a wrong password and an unknown user; `rate_limited`, `busy`.
    pub async fn sign_in(&self, username: &str, password: &str, from: &Whence) -> Result<Session, Refusal> {
        let username = Username::new(username).ok();
        self.limits.sign_in(username.as_ref(), from.address.into(), self.now_ms())?;
        let known = match &username {
            Some(username) => self.directory.user_by_name(username).await?,
            None => None,
        };
        let stored = known.as_ref().map(|user| &*user.password_hash);
        let checked = self.passwords.check(password, stored).await?;
        let Some(user) = known.filter(|_| checked != Checked::Wrong) else {
            return Err(Refusal::new(ErrorCode::InvalidCredentials, "the username or the password is wrong"));
        };
        if let Checked::Outdated(renewed) = checked {
            self.renew_hash(&user, &renewed).await;
        }
        self.start_login(User { id: user.id, name: user.name, guest: false }, from).await
    }

    /// A new access token, and a new refresh token in place of the presented one.
    ///
    /// # Errors
    /// `unauthenticated` when the person has to sign in again; `rate_limited`, `busy`.
    pub async fn refresh(&self, refresh_token: &str, from: &Whence) -> Result<Session, Refusal> {
        self.limits.refresh(from.address.into(), self.now_ms())?;
        let token = RefreshToken::parse(refresh_token).ok_or_else(sign_in_again)?;
        for _ in 0..ROTATION_TRIES {
            let mut login = self.directory.login(token.login()).await?.ok_or_else(sign_in_again)?;
            let now_ms = self.now_ms();
            match judge(&login, &token, now_ms) {
                Verdict::Rotate => {
                    if !self.directory.rotate_login(login.id, login.counter, now_ms).await? {
                        // Somebody was faster; judged again, the token is a recent one.
                        continue;
                    }
                    login.counter += 1;
                    login.rotated_ms = now_ms;
                }
                Verdict::Current => {}
                Verdict::Reused => {
                    tracing::warn!(login = %login.id, user = %login.user, "an old refresh token came back");
                    self.end_login(login.user, login.id).await?;
                    return Err(sign_in_again());
                }
                Verdict::Expired => {
                    self.end_login(login.user, login.id).await?;
                    return Err(sign_in_again());
                }
                Verdict::Forged => return Err(sign_in_again()),
            }
            let user = self.directory.user(login.user).await?.ok_or_else(sign_in_again)?;
            return self.session(User { id: user.id, name: user.name, guest: false }, &login);
        }
        Err(Refusal::new(ErrorCode::Busy, "this device is being refreshed elsewhere").after(1_000))
    }

    /// Signs out whichever devices the tokens prove, or all devices of their people. Nothing to sign out is
    /// fine.
    ///
    /// # Errors
    /// `token_expired` when the access token alone could prove it and no longer does.
    pub async fn sign_out(
        &self,
        access_token: Option<&str>,
        refresh_token: Option<&str>,
        everywhere: bool,
    ) -> Result<(), Refusal> {
        let mut proven = Vec::new();
        if let Some(login) = self.login_of(refresh_token).await? {
            proven.push((login.id, login.user));
        }
        match access_token.map(|token| self.principal(token)) {
            Some(Ok(principal)) => {
                let login = principal.signed_in.map(|signed_in| (signed_in.login, principal.user.id));
                proven.extend(login.filter(|login| !proven.contains(login)));
            }
            Some(Err(refusal)) if proven.is_empty() && refusal.code == ErrorCode::TokenExpired => {
                return Err(refusal);
            }
            Some(Err(_)) | None => {}
        }
        for (login, user) in proven {
            if everywhere {
                self.end_all_logins(user).await?;
            } else {
                self.end_login(user, login).await?;
            }
        }
        Ok(())
    }

    /// The devices on which a person is signed in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logins(&self, user: UserId) -> Result<Vec<LoginRow>, Refusal> {
        Ok(self.directory.logins(user).await?)
    }

    /// Signs a person out on one device.
    ///
    /// # Errors
    /// `not_found` when it is none of theirs.
    pub async fn end_login_of(&self, user: UserId, login: LoginId) -> Result<(), Refusal> {
        let theirs = self.directory.login(login).await?.is_some_and(|row| row.user == user);
        if !theirs {
            return Err(Refusal::new(ErrorCode::NotFound, "you are not signed in on such a device"));
        }
        self.end_login(user, login).await
    }

    /// # Errors
    /// `unauthenticated` when the account is gone.
    pub async fn profile(&self, user: UserId) -> Result<Profile, Refusal> {
        let row = self.directory.user(user).await?.ok_or_else(sign_in_again)?;
        Ok(Profile { id: row.id, username: row.username, name: row.name, created_ms: row.created_ms })
    }

    /// Gives a person another name. Access tokens bear it from the next refresh on.
    ///
    /// # Errors
    /// `invalid_name`.
    pub async fn rename(&self, user: UserId, name: &str) -> Result<(), Refusal> {
        let name = DisplayName::new(name).map_err(|error| invalid_name("name", error))?;
        Ok(self.directory.rename_user(user, &name).await?)
    }

    async fn start_login(&self, user: User, from: &Whence) -> Result<Session, Refusal> {
        let now_ms = self.now_ms();
        let login = LoginRow {
            id: LoginId(Uuid::new_v4()),
            user: user.id,
            key: rand::random(),
            counter: 0,
            rotated_ms: now_ms,
            created_ms: now_ms,
            expires_ms: now_ms + LIFE_MS,
            device: from.device.chars().filter(|c| !c.is_control()).take(200).collect(),
        };
        for ended in self.directory.create_login(&login, MOST).await? {
            self.announce_end(login.user, ended).await;
        }
        self.session(user, &login)
    }

    fn session(&self, user: User, login: &LoginRow) -> Result<Session, Refusal> {
        let now_ms = self.now_ms();
        let access_token = self.access_tokens.sign(&user, login.id, now_ms).map_err(Refusal::internal)?;
        let refresh_token = RefreshToken::of(login).text();
        let refresh_life_ms = IDLE_MS.min(login.expires_ms.saturating_sub(now_ms));
        Ok(Session { user, access_token, refresh_token, refresh_life_ms })
    }

    /// The login that made a refresh token, however old the token is.
    async fn login_of(&self, refresh_token: Option<&str>) -> Result<Option<LoginRow>, Refusal> {
        let Some(token) = refresh_token.and_then(RefreshToken::parse) else { return Ok(None) };
        Ok(self.directory.login(token.login()).await?.filter(|login| token.is_of(login)))
    }

    async fn end_login(&self, user: UserId, login: LoginId) -> Result<(), Refusal> {
        let outcome = self.directory.end_login(login).await;
        if may_have_happened(&outcome) {
            self.announce_end(user, login).await;
        }
        Ok(outcome.map(|_| ())?)
    }

    async fn end_all_logins(&self, user: UserId) -> Result<(), Refusal> {
        let before = self.directory.logins(user).await?;
        let outcome = self.directory.end_logins(user).await;
        let ended = match &outcome {
            Ok(ended) => ended.clone(),
            Err(_) if may_have_happened(&outcome) => before.iter().map(|login| login.id).collect(),
            Err(_) => Vec::new(),
        };
        for login in ended {
            self.announce_end(user, login).await;
        }
        Ok(outcome.map(|_| ())?)
    }

    async fn announce_end(&self, user: UserId, login: LoginId) {
        self.forget_login(login);
        self.changes.login_ended(user, login).await;
    }

    /// Failing to renew a hash is no reason to keep somebody out.
    async fn renew_hash(&self, user: &UserRow, renewed: &str) {
        if let Err(error) = self.directory.set_password_hash(user.id, renewed).await {
            tracing::warn!(user = %user.id, %error, "a password hash was not renewed");
        }
    }
}

/// Everything that is wrong with a sign-up at once, so that a form can show it at once.
fn examine(person: &SignUp) -> Result<(Username, DisplayName), Refusal> {
    let mut wrong = Vec::new();
    let mut note = |field, code, message: String| wrong.push(FieldError { field, code, message });
    let username = Username::new(&person.username);
    let name = DisplayName::new(person.name.as_ref().unwrap_or(&person.username));
    if let Err(error) = &username {
        note("username", ErrorCode::InvalidName, error.to_string());
    }
    if let Err(message) = acceptable(&person.password, username.as_ref().ok()) {
        note("password", ErrorCode::WeakPassword, message.to_owned());
    }
    if let Err(error) = &name
        && person.name.is_some()
    {
        note("name", ErrorCode::InvalidName, error.to_string());
    }
    match (username, name, Refusal::of_fields(wrong)) {
        (Ok(username), Ok(name), None) => Ok((username, name)),
        (_, _, Some(refusal)) => Err(refusal),
        // A name that was not given is the username, which is the better known of the two to be wrong.
        (Err(error), _, None) | (_, Err(error), None) => Err(invalid_name("username", error)),
    }
}

pub(super) fn invalid_name(field: &'static str, error: InvalidName) -> Refusal {
    Refusal::of_field(field, ErrorCode::InvalidName, error.to_string())
}

fn taken() -> Refusal {
    Refusal::of_field("username", ErrorCode::UsernameTaken, "somebody has that username")
}

fn sign_in_again() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "sign in again")
}
