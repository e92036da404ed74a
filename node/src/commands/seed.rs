//! `enfilade seed`: people and boards to try things with. The same every time, and safe to repeat.

use anyhow::{Context as _, bail};
use clap::Args;
use enfilade_actors::bus::{Submission, Writer};
use enfilade_actors::cluster::Cluster;
use enfilade_actors::host::Clock as _;
use enfilade_proto::board::{Bounds, Color, Note, Stroke, Text, Width, Writing};
use enfilade_proto::{
    ClientId, Coord, DisplayName, ElementId, Op, OpId, Point, Points, Role, RoomId, RoomKind, UserId,
    Username,
};
use enfilade_store::{Directory, NewRoom, NewUser};
use uuid::Uuid;

use crate::config::Config;
use crate::people::{Hashing, Passwords, SystemClock};
use crate::secret::Secret;

#[derive(Args)]
#[group(id = "what")]
pub(super) struct Seed {
    /// How many people: ada, grace, alan, then person4 and so on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    people: u32,
    /// How many boards, each owned by one of them and with a drawing on it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    boards: u32,
    /// The password of all of them; @FILE reads it from a file
    #[arg(long, env = "ENFILADE_SEED_PASSWORD", hide_env_values = true)]
    password: Secret,
}

const NAMES: [(&str, &str); 3] =
    [("ada", "Ada Lovelace"), ("grace", "Grace Hopper"), ("alan", "Alan Turing")];

impl Seed {
    pub(super) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let (store, cluster) = crate::node::open_offline(config).await?;
        let people = self.people(&*store.directory).await?;
        for number in 0..self.boards {
            let owner = people[number as usize % people.len()];
            board(&*store.directory, &cluster, number, owner).await?;
        }
        cluster.stop().await;
        store.close().await;
        println!("{} people and {} boards are there", self.people, self.boards);
        Ok(())
    }

    async fn people(&self, directory: &dyn Directory) -> anyhow::Result<Vec<UserId>> {
        let password = self.password.clone().read().context("read the file of the password")?;
        let password_hash = Passwords::new(&Hashing::default())?.hash(password.reveal()).await?;
        let mut ids = Vec::new();
        for number in 0..self.people {
            let known = NAMES.get(number as usize);
            let username =
                known.map_or_else(|| format!("person{}", number + 1), |(username, _)| (*username).to_owned());
            let name = known.map_or_else(|| format!("Person {}", number + 1), |(_, name)| (*name).to_owned());
            let username = Username::new(&username)?;
            if let Some(there) = directory.user_by_name(&username).await? {
                ids.push(there.id);
                continue;
            }
            let id = UserId(stable(1, number));
            let name = DisplayName::new(&name)?;
            let created_ms = SystemClock.now_ms();
            directory
                .create_user(&NewUser {
                    id,
                    username,
                    name,
                    password_hash: password_hash.clone(),
                    created_ms,
                })
                .await?;
            ids.push(id);
        }
        Ok(ids)
    }
}

/// The id of the n-th thing of a sort: a UUID of version 8, whose bits are for whoever makes it.
fn stable(sort: u8, number: u32) -> Uuid {
    let mut bytes = *b"enfilade seed\0\0\0";
    bytes[11] = sort;
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

async fn board(
    directory: &dyn Directory,
    cluster: &Cluster,
    number: u32,
    owner: UserId,
) -> anyhow::Result<()> {
    let id = RoomId(stable(2, number));
    if directory.room(id).await?.is_none() {
        let title = DisplayName::new(&format!("Seeded board {}", number + 1))?;
        let created_ms = SystemClock.now_ms();
        let room = NewRoom { id, kind: RoomKind::Board, title, created_ms, owner: Some(owner), link: None };
        directory.create_room(&room).await?;
    }
    let writer = Writer { author: owner, client: ClientId(stable(3, number)) };
    for (op_id, op) in (1..).map(OpId).zip(drawing(number)?) {
        // Sent again, they are recognised.
        let submission = Submission { writer, role: Role::Owner, op_id, op, weight: 0, trace: None };
        cluster.submit(id, submission)?.wait().await?;
    }
    Ok(())
}

/// Rosettes of a few petals, a title and a note.
fn drawing(number: u32) -> anyhow::Result<Vec<Op>> {
    const COLORS: [&str; 5] = ["#1a1a1a", "#d9480f", "#1864ab", "#2b8a3e", "#862e9c"];
    let mut ops = Vec::new();
    for (ring, color) in COLORS.iter().enumerate() {
        let petals = f64::from(3 + (number + ring as u32) % 5);
        let radius = 60.0 + 40.0 * ring as f64;
        let points: Vec<Point> = (0..=240)
            .map(|step| {
                let angle = f64::from(step) / 240.0 * std::f64::consts::TAU;
                let r = radius * (1.0 + 0.25 * (angle * petals).cos());
                point(400.0 + r * angle.cos(), 300.0 + r * angle.sin())
            })
            .collect::<anyhow::Result<_>>()?;
        ops.push(Op::AddStroke(Stroke {
            element: ElementId::new(&format!("seed-ring-{ring}"))?,
            color: color_of(color)?,
            width: width(3.0)?,
            points: Points::encode(&points),
            pressure: None,
        }));
    }
    ops.push(Op::AddText(Writing {
        element: ElementId::new("seed-title")?,
        color: color_of(COLORS[0])?,
        size: width(28.0)?,
        from: point(120.0, 20.0)?,
        text: text(&format!("Seeded board {}", number + 1))?,
    }));
    let [x, y] = point(760.0, 80.0)?;
    let [w, h] = point(180.0, 120.0)?;
    let Some(bounds) = Bounds::new([x, y, w, h]) else { bail!("a note with a negative size") };
    ops.push(Op::AddNote(Note {
        element: ElementId::new("seed-note")?,
        color: color_of("#ffe8a3")?,
        bounds,
        text: text("Draw here, together.")?,
    }));
    Ok(ops)
}

fn point(x: f64, y: f64) -> anyhow::Result<Point> {
    let coord = |units| Coord::from_units(units).context("a coordinate off the plane");
    Ok([coord(x)?, coord(y)?])
}

fn color_of(text: &str) -> anyhow::Result<Color> {
    Color::parse(text).context("a colour")
}

fn width(units: f32) -> anyhow::Result<Width> {
    Width::new(units).context("a width")
}

fn text(text: &str) -> anyhow::Result<Text> {
    Text::new(text).map_err(anyhow::Error::msg)
}
