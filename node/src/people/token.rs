//! Access tokens: who somebody is, signed, good for ten minutes on every node.
//!
//! A JWT of type `at+jwt` (RFC 9068), Ed25519 only. It says nothing of rooms: what a person may do there can
//! change at any moment, so the room's tables decide. All nodes share one key, which the store keeps; `kid`
//! is its thumbprint.

use enfilade_proto::{DisplayName, LoginId, User, UserId};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyOperations, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The life of an access token, and so the longest that anything learns late of a sign-out.
pub const ACCESS_LIFE_MS: u64 = 10 * 60 * 1_000;

/// What tokens are for: this service and no other that might trust the same keys.
const AUDIENCE: &str = "enfilade";
const TYPE: &str = "at+jwt";
/// Ours have about 600 bytes; whatever is much longer was not made here.
const LONGEST: usize = 2_048;

/// What a PKCS#8 document says before the 32 bytes of an Ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Who a good token speaks of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bearer {
    pub user: User,
    pub login: LoginId,
    pub expires_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the access token has expired")]
    Expired,
    #[error("the access token is not one of ours")]
    Invalid,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: LoginId,
    iat: u64,
    exp: u64,
    jti: Uuid,
    name: DisplayName,
}

/// Signs and verifies.
pub(super) struct AccessTokens {
    issuer: String,
    header: Header,
    validation: Validation,
    signing: EncodingKey,
    verifying: DecodingKey,
    key: Jwk,
}

impl AccessTokens {
    /// # Errors
    /// When the seed is not an Ed25519 key.
    pub(super) fn new(seed: &[u8], issuer: &str) -> Result<Self, jsonwebtoken::errors::Error> {
        let signing = EncodingKey::from_ed_der(&[&PKCS8_PREFIX, seed].concat());
        let mut key = Jwk::from_encoding_key(&signing, Algorithm::EdDSA)?;
        let kid = key.thumbprint(ThumbprintHash::SHA256)?;
        key.common.key_id = Some(kid.clone());
        key.common.public_key_use = Some(PublicKeyUse::Signature);
        key.common.key_operations = Some(vec![KeyOperations::Verify]);

        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(kid);

        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // By our own clock, which is handed in.
        validation.validate_exp = false;

        Ok(Self {
            issuer: issuer.to_owned(),
            header,
            validation,
            verifying: DecodingKey::from_jwk(&key)?,
            signing,
            key,
        })
    }

    /// # Errors
    /// When signing fails, which it has no reason to.
    pub(super) fn sign(
        &self,
        user: &User,
        login: LoginId,
        now_ms: u64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let iat = now_ms / 1_000;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user.id,
            sid: login,
            iat,
            exp: iat + ACCESS_LIFE_MS / 1_000,
            jti: Uuid::new_v4(),
            name: user.name.clone(),
        };
        encode(&self.header, &claims, &self.signing)
    }

    /// # Errors
    /// `Expired` only when everything else is right: refreshing helps. `Invalid` otherwise.
    pub(super) fn verify(&self, token: &str, now_ms: u64) -> Result<Bearer, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Invalid);
        }
        let token =
            decode::<Claims>(token, &self.verifying, &self.validation).map_err(|_| TokenError::Invalid)?;
        if token.header.typ != self.header.typ || token.header.kid != self.header.kid {
            return Err(TokenError::Invalid);
        }
        let claims = token.claims;
        let expires_ms = claims.exp.saturating_mul(1_000);
        if expires_ms <= now_ms {
            return Err(TokenError::Expired);
        }
        let user = User { id: claims.sub, name: claims.name, guest: false };
        Ok(Bearer { user, login: claims.sid, expires_ms })
    }

    /// The public key, for others who verify our tokens.
    #[must_use]
    pub(super) fn public_keys(&self) -> JwkSet {
        JwkSet { keys: vec![self.key.clone()] }
    }
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessTokens").field("kid", &self.header.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_767_225_600_500;
    const SEED: [u8; 32] = [7; 32];

    fn tokens() -> AccessTokens {
        AccessTokens::new(&SEED, "https://example.org").unwrap()
    }

    fn ada() -> User {
        User { id: UserId(Uuid::from_u128(1)), name: DisplayName::new("Ada 李").unwrap(), guest: false }
    }

    fn login() -> LoginId {
        LoginId(Uuid::from_u128(2))
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    /// Signs whatever header and claims a test makes up, with the right key.
    fn forge(header: &Value, claims: &Value, key: &EncodingKey) -> String {
        let encoded = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = encoded.join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_names_its_bearer_until_it_expires() {
        let tokens = tokens();
        let token = tokens.sign(&ada(), login(), NOW).unwrap();
        let expires_ms = NOW - 500 + ACCESS_LIFE_MS;
        let bearer = Bearer { user: ada(), login: login(), expires_ms };
        assert_eq!(tokens.verify(&token, NOW), Ok(bearer.clone()));
        assert_eq!(tokens.verify(&token, expires_ms - 1), Ok(bearer));
        assert_eq!(tokens.verify(&token, expires_ms), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_is_an_at_jwt_with_the_claims_of_rfc_9068() {
        let tokens = tokens();
        let token = tokens.sign(&ada(), login(), NOW).unwrap();
        let header = part(&token, 0);
        assert_eq!(header["alg"], "EdDSA");
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["kid"], json!(tokens.header.kid));
        let claims = part(&token, 1);
        assert_eq!(claims["iss"], "https://example.org");
        assert_eq!(claims["aud"], "enfilade");
        assert_eq!(claims["sub"], json!(ada().id));
        assert_eq!(claims["sid"], json!(login()));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
        let other = tokens.sign(&ada(), login(), NOW).unwrap();
        assert_ne!(claims["jti"], part(&other, 1)["jti"]);
    }

    #[test]
    fn nodes_with_the_same_seed_trust_each_other_and_nobody_else() {
        let token = tokens().sign(&ada(), login(), NOW).unwrap();
        assert!(tokens().verify(&token, NOW).is_ok());
        let stranger = AccessTokens::new(&[8; 32], "https://example.org").unwrap();
        assert_eq!(stranger.verify(&token, NOW), Err(TokenError::Invalid));
        let other_site = AccessTokens::new(&SEED, "https://example.com").unwrap();
        assert_eq!(other_site.verify(&token, NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn the_published_key_verifies_a_token() {
        let tokens = tokens();
        let published = serde_json::to_value(tokens.public_keys()).unwrap();
        let key = &published["keys"][0];
        assert_eq!(key["kty"], "OKP");
        assert_eq!(key["crv"], "Ed25519");
        assert_eq!(key["use"], "sig");
        assert_eq!(key["alg"], "EdDSA");
        assert_eq!(key.get("d"), None, "the private part is not for publication");
        let verifying = DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
        let token = tokens.sign(&ada(), login(), NOW).unwrap();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.set_audience(&["enfilade"]);
        assert!(decode::<Value>(&token, &verifying, &validation).is_ok());
    }

    #[test]
    fn only_our_algorithm_type_key_and_audience_are_accepted() {
        let tokens = tokens();
        let good = tokens.sign(&ada(), login(), NOW).unwrap();
        let (header, claims) = (part(&good, 0), part(&good, 1));
        assert!(tokens.verify(&forge(&header, &claims, &tokens.signing), NOW).is_ok());

        let changed = |field: &str, value: Value, of: &Value| {
            let mut part = of.clone();
            part[field] = value;
            part
        };
        for (field, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("ES256")),
            ("typ", json!("JWT")),
            ("typ", json!(null)),
            ("kid", json!("another")),
            ("kid", json!(null)),
        ] {
            let token = forge(&changed(field, value.clone(), &header), &claims, &tokens.signing);
            assert_eq!(tokens.verify(&token, NOW), Err(TokenError::Invalid), "{field} {value}");
        }
        for (field, value) in [
            ("aud", json!("somebody-else")),
            ("iss", json!("https://example.com")),
            ("iss", json!(null)),
            ("sub", json!("not a uuid")),
            ("sid", json!(null)),
            ("exp", json!("soon")),
            ("exp", json!(null)),
            ("name", json!("\u{202E}evil")),
        ] {
            let token = forge(&header, &changed(field, value.clone(), &claims), &tokens.signing);
            assert_eq!(tokens.verify(&token, NOW), Err(TokenError::Invalid), "{field} {value}");
        }
    }

    #[test]
    fn a_secret_of_another_kind_cannot_sign() {
        let tokens = tokens();
        let good = tokens.sign(&ada(), login(), NOW).unwrap();
        // The classic: the public key, which everyone has, taken for an HMAC secret.
        let public = serde_json::to_value(tokens.public_keys()).unwrap();
        let secret = EncodingKey::from_secret(public["keys"][0]["x"].as_str().unwrap().as_bytes());
        let mut header = Header::new(Algorithm::HS256);
        header.typ = tokens.header.typ.clone();
        header.kid = tokens.header.kid.clone();
        let token = encode(&header, &part(&good, 1), &secret).unwrap();
        assert_eq!(tokens.verify(&token, NOW), Err(TokenError::Invalid));
    }

    proptest! {
        #[test]
        fn nothing_but_the_token_itself_is_valid(position in 0usize..400, byte in 0u8..128) {
            let tokens = tokens();
            let token = tokens.sign(&ada(), login(), NOW).unwrap();
            let mut bytes = token.clone().into_bytes();
            let position = position % bytes.len();
            prop_assume!(bytes[position] != byte);
            bytes[position] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(tokens.verify(&changed, NOW), Err(TokenError::Invalid));
        }

        #[test]
        fn any_text_is_merely_invalid(text in "\\PC{0,300}") {
            prop_assert_eq!(tokens().verify(&text, NOW), Err(TokenError::Invalid));
        }
    }
}
