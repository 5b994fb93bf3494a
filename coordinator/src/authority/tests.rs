use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use heddle_core::time::{Span, Timestamp};
use heddle_proto::join_token;
use heddle_trust::read;
use tempfile::TempDir;

use super::tokens::Newcomer;
use super::*;
use crate::journal::memory::MemoryJournal;
use crate::journal::system_clock;
use crate::limits::{CERTIFICATE_LIFE, JOIN_AGAIN};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const HOUR: Span = Span::from_millis(3_600_000);

fn options() -> TlsOptions {
    TlsOptions { authority: None, certificate_life: CERTIFICATE_LIFE, new_gateway_token: false }
}

fn request(pair: &KeyPair) -> SigningRequest {
    let der = CertificateParams::default().serialize_request(pair).unwrap();
    SigningRequest::read(der.der()).unwrap()
}

#[test]
fn an_authority_is_made_once_and_kept() {
    let folder = TempDir::new().unwrap();
    let first = Authority::open(folder.path(), &options()).unwrap();
    let again = Authority::open(folder.path(), &options()).unwrap();
    assert_eq!((first.fingerprint(), first.cluster()), (again.fingerprint(), again.cluster()));
    let (certificate, key) = (folder.path().join("authority/ca.pem"), folder.path().join("authority/ca.key"));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // A crash between the two files: the key stays the one that was written.
    std::fs::remove_file(&certificate).unwrap();
    let next = Authority::open(folder.path(), &options()).unwrap();
    assert_eq!(next.token_key(), first.token_key());
    // Members trust one authority: a lost key must not be replaced in silence.
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(Authority::open(folder.path(), &options()), Err(AuthorityError::Missing { .. })));
    let other = KeyPair::generate().unwrap();
    std::fs::write(&key, other.serialize_pem()).unwrap();
    assert!(matches!(Authority::open(folder.path(), &options()), Err(AuthorityError::OtherKey { .. })));
}

#[test]
fn a_given_authority_must_be_one() {
    let folder = TempDir::new().unwrap();
    let files = AuthorityFiles { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
    let given = TlsOptions { authority: Some(files.clone()), ..options() };
    assert!(matches!(Authority::open(folder.path(), &given), Err(AuthorityError::Missing { .. })));
    let pair = KeyPair::generate().unwrap();
    std::fs::write(&files.key, pair.serialize_pem()).unwrap();
    let mut parameters = CertificateParams::default();
    std::fs::write(&files.certificate, parameters.self_signed(&pair).unwrap().pem()).unwrap();
    assert!(matches!(Authority::open(folder.path(), &given), Err(AuthorityError::NoAuthority { .. })));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(&files.certificate, parameters.self_signed(&pair).unwrap().pem()).unwrap();
    let authority = Authority::open(folder.path(), &given).unwrap();
    assert_eq!(authority.cluster().len(), 16, "without a name of its own, a part of the fingerprint");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is made beside what was given");
}

#[test]
fn certificates_say_who_their_holder_is() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::open(folder.path(), &options()).unwrap();
    let pair = KeyPair::generate().unwrap();
    let request = request(&pair);
    let signed = authority.sign(Role::Agent, "agt_1", &request).unwrap();
    let certified = read(&CertificateDer::from(signed)).unwrap();
    let expected = Member { cluster: authority.cluster().into(), role: Role::Agent, id: "agt_1".into() };
    assert_eq!((certified.member, certified.key), (expected, request.fingerprint));
    let now = since_epoch().as_secs() as i64;
    let behind_max = 8 * 60 * 60;
    assert!((0..=5).contains(&(now - behind_max - certified.not_before).abs()), "clocks may be hours behind");
    assert!((0..=5).contains(&(now + CERTIFICATE_LIFE.as_secs() as i64 - certified.not_after)));
}

#[test]
fn a_request_must_be_signed_with_its_own_key() {
    let pair = KeyPair::generate().unwrap();
    let mut der = CertificateParams::default().serialize_request(&pair).unwrap().der().to_vec();
    assert!(SigningRequest::read(&der).is_some());
    let last = der.len() - 1;
    der[last] ^= 1;
    assert!(SigningRequest::read(&der).is_none());
    assert!(SigningRequest::read(b"").is_none());
    assert!(SigningRequest::read(&vec![0x30; REQUEST_BYTES_MAX + 1]).is_none());
}

struct Desk {
    tokens: Tokens,
    folder: TempDir,
}

fn desk() -> Desk {
    let folder = TempDir::new().unwrap();
    let authority = Authority::open(folder.path(), &options()).unwrap();
    let members = Arc::new(MemoryJournal::new(1, system_clock()).unwrap());
    Desk { tokens: Tokens::new(members, &authority), folder }
}

fn agent(id: &str, key: u8) -> Newcomer {
    Newcomer { role: Role::Agent, id: id.into(), key: [key; 32] }
}

#[tokio::test]
async fn a_token_is_used_once_and_a_lost_answer_may_be_asked_for_again() {
    let Desk { tokens, .. } = desk();
    let (text, row) = tokens.create(Role::Agent, "ada".into(), HOUR, NOW).await.unwrap();
    let first = tokens.redeem(&text, &agent("a", 1), NOW).await.unwrap();
    assert_eq!((first.id, first.used.as_ref().unwrap().by.as_ref()), (row.id, "a"));
    let soon = NOW.plus(Span::from_millis(JOIN_AGAIN.as_millis() - 1));
    assert_eq!(tokens.redeem(&text, &agent("a", 1), soon).await.unwrap(), first, "the first use counts");
    for (who, at) in [(agent("b", 1), NOW), (agent("a", 2), NOW), (agent("a", 1), NOW.plus(JOIN_AGAIN))] {
        let denied = tokens.redeem(&text, &who, at).await.unwrap_err();
        assert!(matches!(&denied, Denial::Used { by } if &**by == "a"), "{who:?}: {denied:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let Desk { tokens, .. } = desk();
    let (text, row) = tokens.create(Role::Agent, "ada".into(), HOUR, NOW).await.unwrap();
    let gateway = Newcomer { role: Role::Gateway, ..agent("g", 1) };
    let denied = tokens.redeem(&text, &gateway, NOW).await.unwrap_err();
    assert!(matches!(denied, Denial::OtherRole { role: Role::Agent }), "{denied:?}");
    let denied = tokens.redeem(&text, &agent("a", 1), NOW.plus(HOUR)).await.unwrap_err();
    assert!(matches!(denied, Denial::Expired), "{denied:?}");
    tokens.members.revoke_join_token(row.id, NOW).await.unwrap();
    let denied = tokens.redeem(&text, &agent("a", 1), NOW).await.unwrap_err();
    assert!(matches!(denied, Denial::Revoked), "{denied:?}");
    let elsewhere = desk().tokens.create(Role::Agent, "ada".into(), HOUR, NOW).await.unwrap().0;
    let forged = join_token::mint(&[1; 32], &tokens.authority);
    for unknown in [&elsewhere, &forged] {
        let denied = tokens.redeem(unknown, &agent("a", 1), NOW).await.unwrap_err();
        assert!(matches!(denied, Denial::Unknown), "{denied:?}");
    }
    let denied = tokens.redeem("hjt_x", &agent("a", 1), NOW).await.unwrap_err();
    assert!(matches!(denied, Denial::Malformed), "{denied:?}");
}

#[tokio::test]
async fn nobody_joins_under_an_id_that_has_another_key() {
    let Desk { tokens, .. } = desk();
    let mint = || tokens.create(Role::Agent, "ada".into(), HOUR, NOW);
    let (first, second, third) = (mint().await.unwrap().0, mint().await.unwrap().0, mint().await.unwrap().0);
    tokens.redeem(&first, &agent("a", 1), NOW).await.unwrap();
    let denied = tokens.redeem(&second, &agent("a", 2), NOW).await.unwrap_err();
    assert!(matches!(denied, Denial::IdTaken), "{denied:?}");
    // The token is not used up by that, and the holder of the key joins again with it.
    tokens.redeem(&second, &agent("a", 1), NOW).await.unwrap();
    tokens.redeem(&third, &agent("b", 2), NOW).await.unwrap();
}

#[tokio::test]
async fn a_cluster_without_a_gateway_has_a_token_for_one() {
    let Desk { tokens, folder } = desk();
    let first = |is_asked, now| tokens.first_gateway(folder.path(), is_asked, now);
    let text = || std::fs::read_to_string(folder.path().join(GATEWAY_TOKEN_FILE)).unwrap();
    let path = first(false, NOW).await.unwrap().unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = text();
    assert!(first(false, NOW).await.unwrap().is_some());
    assert_eq!(text(), token, "one that can be used stays");
    let late = NOW.plus(FIRST_GATEWAY_TOKEN_TTL_AND_MORE);
    assert!(first(false, late).await.unwrap().is_some());
    assert_ne!(text(), token, "one that has expired does not");
    let gateway = Newcomer { role: Role::Gateway, ..agent("g", 1) };
    tokens.redeem(text().trim(), &gateway, late).await.unwrap();
    assert!(first(false, late).await.unwrap().is_none());
    assert!(first(true, late).await.unwrap().is_some(), "whoever lost the last gateway may ask for one");
}

const FIRST_GATEWAY_TOKEN_TTL_AND_MORE: Span =
    Span::from_millis(crate::limits::FIRST_GATEWAY_TOKEN_TTL.as_millis() + 1);
