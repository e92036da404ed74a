//! What the names in `deploy/nats/enfilade.conf` may do, and what not.

use std::sync::Arc;
use std::sync::Mutex;

use async_nats::{Client, ConnectOptions, Event};
use enfilade_testbed::nats::{NatsServerError, SecuredNats};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::SOON;

async fn server() -> Option<SecuredNats> {
    match SecuredNats::start().await {
        Err(NatsServerError::Missing) => {
            eprintln!("skipped: there is no nats-server");
            None
        }
        started => Some(started.unwrap()),
    }
}

/// Somebody who talks to NATS with a role's name, whatever a node of that role would say.
struct Somebody {
    client: Client,
    /// What the server refused.
    refused: mpsc::UnboundedReceiver<String>,
}

impl Somebody {
    async fn called(user: &str, server: &SecuredNats) -> Self {
        let (tell, refused) = mpsc::unbounded_channel();
        let tell = Arc::new(Mutex::new(tell));
        let options = ConnectOptions::new().add_root_certificates(server.root_certificates()).event_callback(
            move |event| {
                if let Event::ServerError(error) = event {
                    let _ = tell.lock().unwrap().send(error.to_string().to_lowercase());
                }
                std::future::ready(())
            },
        );
        let url = server.url(user).parse::<async_nats::ServerAddr>().unwrap();
        let options = options.user_and_password(user.to_owned(), url.password().unwrap().to_owned());
        Self { client: options.connect(url).await.unwrap(), refused }
    }

    /// Whether the server takes what was asked of it last.
    async fn may(&mut self) -> bool {
        // Errors come before the answer to what was asked after them.
        timeout(SOON, self.client.flush()).await.unwrap().unwrap();
        let probe = self.client.subscribe("enfilade.enfilade.all").await.unwrap();
        let mut probe = probe;
        self.client.publish("enfilade.enfilade.all", "probe".into()).await.unwrap();
        timeout(SOON, probe.next()).await.unwrap().unwrap();
        let error = self.refused.try_recv();
        assert!(error.as_ref().map_or(true, |error| error.contains("permissions violation")), "{error:?}");
        error.is_err()
    }

    async fn may_publish(&mut self, subject: &'static str) -> bool {
        self.client.publish(subject, "forged".into()).await.unwrap();
        self.may().await
    }

    async fn may_subscribe(&mut self, subject: &'static str) -> bool {
        let _subscriber = self.client.subscribe(subject).await.unwrap();
        self.may().await
    }
}

#[tokio::test]
async fn every_role_may_what_it_does_and_no_more() {
    let Some(server) = server().await else { return };
    let [mut edge, mut host, mut node] = [
        Somebody::called("edge", &server).await,
        Somebody::called("host", &server).await,
        Somebody::called("node", &server).await,
    ];
    // Subject; may an edge, a host, a node that is both publish there?
    for (subject, allowed) in [
        ("enfilade.enfilade.n.1", [true, true, true]),
        ("enfilade.enfilade.m.1", [true, true, true]),
        // Whole rooms come from their owner.
        ("enfilade.enfilade.b.1", [false, true, true]),
        // Who takes a whole room says that it came.
        ("enfilade.enfilade.i.1.2", [true, false, true]),
        ("enfilade.enfilade.x.1.2", [false, false, true]),
        ("enfilade.another.n.1", [false, false, false]),
        ("enfilade.another.all", [false, false, false]),
        ("$JS.API.STREAM.CREATE.x", [false, false, false]),
        ("anything", [false, false, false]),
    ] {
        let may = [
            edge.may_publish(subject).await,
            host.may_publish(subject).await,
            node.may_publish(subject).await,
        ];
        assert_eq!(may, allowed, "publish to {subject}");
    }
    for (subject, allowed) in [
        ("enfilade.enfilade.n.1", [true, true, true]),
        ("enfilade.enfilade.b.1", [true, true, true]),
        // A host has nobody who listens to a room.
        ("enfilade.enfilade.m.1", [true, false, true]),
        ("enfilade.enfilade.i.1.2", [true, true, true]),
        ("enfilade.enfilade.x.1.*", [true, true, true]),
        ("enfilade.>", [false, false, false]),
        ("enfilade.another.n.1", [false, false, false]),
        ("$SYS.>", [false, false, false]),
        (">", [false, false, false]),
    ] {
        let may = [
            edge.may_subscribe(subject).await,
            host.may_subscribe(subject).await,
            node.may_subscribe(subject).await,
        ];
        assert_eq!(may, allowed, "subscribe to {subject}");
    }
}

#[tokio::test]
async fn whoever_has_no_name_or_no_tls_stays_outside() {
    let Some(server) = server().await else { return };
    let roots = || ConnectOptions::new().add_root_certificates(server.root_certificates());
    let tls = server.server.url().replace("nats://", "tls://");
    assert!(roots().connect(&tls).await.is_err(), "without a name");
    let wrong = roots().user_and_password("edge".into(), "guess".into()).connect(&tls).await;
    assert!(wrong.is_err(), "with a wrong password");
    let password =
        server.url("edge").parse::<async_nats::ServerAddr>().unwrap().password().unwrap().to_owned();
    let unknown = ConnectOptions::new().user_and_password("edge".into(), password).connect(&tls).await;
    assert!(unknown.is_err(), "the authority is not known to everybody");
}
