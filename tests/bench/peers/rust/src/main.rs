//! A peer of `uptake run` for tests/bench/compare: a tuned Rust program.
//!
//!     peer BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc
//!
//! rdkafka's BaseConsumer (messages borrowed, not copied), serde_avro_fast into borrowed strings, hashbrown tables that
//! own their keys once and go by numbers where they can, ids of deduplication as 64 bits of hash (as uptake has them),
//! rows that changed written with one pipeline of HSETs a second. Reads the topic to its end. The work is that of
//! straight.c: see there. Prints records read as JSON.
use std::collections::VecDeque;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::time::{Duration, Instant};

use ahash::AHasher;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use serde_avro_fast::Schema;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const DEDUP: i64 = 10 * MINUTE;
const IDS: usize = 4096;
const ACCOUNT_FIELDS: [&str; 19] = [
    "units_1h", "units_24h", "units_7d", "units_30d", "events_1h", "events_24h", "events_7d", "events_30d", "users_30d",
    "features_30d", "users_24h", "users_7d", "logins_1h", "logins_24h", "logins_7d", "logins_30d", "users_total",
    "first_seen", "last_seen",
];
const FEATURE_FIELDS: [&str; 10] = [
    "units_1h", "units_24h", "units_7d", "units_30d", "events_1h", "events_24h", "events_7d", "events_30d", "users_30d",
    "accounts_30d",
];

type Hasher = BuildHasherDefault<AHasher>; // without keys: takes no room in the maps of an account
type HashMap<K, V> = hashbrown::HashMap<K, V, Hasher>;
type HashSet<K> = hashbrown::HashSet<K, Hasher>;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event_id: &'a str,
    occurred_at: i64,
    #[serde(borrow)]
    account_id: &'a str,
    #[serde(borrow)]
    user_id: Option<&'a str>,
    kind: Kind,
    #[serde(borrow)]
    feature: Option<&'a str>,
    quantity: f64,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    Usage,
    Login,
    #[serde(other)]
    Other,
}

/// What is counted in a bucket; a user or another thing (an account's feature, a feature's account) where last seen.
#[derive(Clone, Copy, Default, PartialEq)]
struct Cell {
    units: i64, // millionths
    events: i32,
    logins: i32,
    users: i32,
    others: i32,
}

const USER: Cell = Cell { units: 0, events: 0, logins: 0, users: 1, others: 0 };
const OTHER: Cell = Cell { units: 0, events: 0, logins: 0, users: 0, others: 1 };
const LOGIN: Cell = Cell { units: 0, events: 0, logins: 1, users: 0, others: 0 };

impl Cell {
    #[inline]
    fn add(&mut self, what: Cell, sign: i32) {
        self.units += sign as i64 * what.units;
        self.events += sign * what.events;
        self.logins += sign * what.logins;
        self.users += sign * what.users;
        self.others += sign * what.others;
    }
}

struct Ring<const N: usize> {
    head: i64, // bucket number of the clock
    sum: Cell,
    cells: [Cell; N],
}

impl<const N: usize> Ring<N> {
    fn new() -> Self {
        Ring { head: 0, sum: Cell::default(), cells: [Cell::default(); N] }
    }

    #[inline]
    fn advance(&mut self, bucket: i64) {
        if bucket <= self.head {
            return;
        }
        for b in (self.head + 1).max(bucket - N as i64 + 1)..=bucket {
            let old = std::mem::take(&mut self.cells[b as usize % N]);
            self.sum.add(old, -1);
        }
        self.head = bucket;
    }

    #[inline]
    fn add(&mut self, bucket: i64, what: Cell, sign: i32) {
        if bucket > self.head - N as i64 {
            self.cells[bucket as usize % N].add(what, sign);
            self.sum.add(what, sign);
        }
    }
}

struct Windows {
    partition: usize,
    dirty: bool,
    hour: Ring<60>,
    day: Ring<24>,
    month: Ring<30>,
    shown: [Cell; 4],
    seen: [i64; 3], // of an account: users, first and last event time
}

impl Windows {
    fn new(partition: usize) -> Self {
        Windows {
            partition,
            dirty: false,
            hour: Ring::new(),
            day: Ring::new(),
            month: Ring::new(),
            shown: Default::default(),
            seen: [0, i64::MAX, 0],
        }
    }

    #[inline]
    fn advance(&mut self, clock: i64) {
        self.hour.advance(clock / MINUTE);
        self.day.advance(clock / HOUR);
        self.month.advance(clock / DAY);
    }

    #[inline]
    fn count(&mut self, at: i64, what: Cell) {
        self.hour.add(at / MINUTE, what, 1);
        self.day.add(at / HOUR, what, 1);
        self.month.add(at / DAY, what, 1);
    }

    /// Moves a thing to where it is last seen; it was seen at `was` before (0: never).
    #[inline]
    fn count_distinct(&mut self, was: i64, at: i64, what: Cell) {
        if at / HOUR > was / HOUR {
            self.day.add(was / HOUR, what, -1);
            self.day.add(at / HOUR, what, 1);
            self.month.add(was / DAY, what, -1);
            self.month.add(at / DAY, what, 1);
        }
    }

    fn sums(&self) -> [Cell; 4] {
        let mut week = Cell::default();
        for b in self.month.head - 6..=self.month.head {
            week.add(self.month.cells[b as usize % 30], 1);
        }
        [self.hour.sum, self.day.sum, week, self.month.sum]
    }

    /// In the order of the fields, from the fifth on.
    fn numbers(&self) -> [i64; 15] {
        let ([h, d, w, m], [users, first, last], n) = (&self.shown, self.seen, i64::from);
        [
            n(h.events), n(d.events), n(w.events), n(m.events), n(m.users), n(m.others), n(d.users), n(w.users),
            n(h.logins), n(d.logins), n(w.logins), n(m.logins), users, first, last,
        ]
    }
}

/// The ids that an account accepted last, oldest first.
#[derive(Default)]
struct Ids {
    set: HashSet<u64>,
    order: VecDeque<(i64, u64)>,
}

impl Ids {
    /// Whether the id is here; if not, it is from now on.
    fn is_duplicate(&mut self, id: &str, clock: i64) -> bool {
        while let Some(&(at, old)) = self.order.front() {
            if at > clock - DEDUP {
                break;
            }
            self.set.remove(&old);
            self.order.pop_front();
        }
        let hash = Hasher::default().hash_one(id);
        if !self.set.insert(hash) {
            return true;
        }
        if self.order.len() == IDS {
            let (_, old) = self.order.pop_front().unwrap();
            self.set.remove(&old);
        }
        self.order.push_back((clock, hash));
        false
    }
}

/// What an account knows beside its row; times are those when last seen, features their places.
#[derive(Default)]
struct Account {
    ids: Ids,
    users: HashMap<Box<str>, (u32, i64)>, // its number in `pairs`
    features: HashMap<u32, i64>,
    pairs: HashMap<(u32, u32), i64>,
}

/// Notes when a thing was seen; gives when it was before, 0 if never.
#[inline]
fn see(last: &mut i64, at: i64) -> i64 {
    std::mem::replace(last, at.max(*last))
}

/// Rows of one kind: a table from name to place, and what changed.
struct Rows {
    fields: &'static [&'static str],
    prefix: &'static str,
    suffix: String,
    places: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    rows: Vec<Windows>,
    dirty: Vec<u32>,
}

impl Rows {
    fn new(fields: &'static [&'static str], prefix: &'static str, suffix: String) -> Self {
        let (places, names, rows, dirty) = (HashMap::default(), Vec::new(), Vec::new(), Vec::new());
        Rows { fields, prefix, suffix, places, names, rows, dirty }
    }

    /// The place of a row, moved to the clock.
    fn place(&mut self, name: &str, partition: usize, clock: i64) -> u32 {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                let place = self.rows.len() as u32;
                self.places.insert(name.into(), place);
                self.names.push(name.into());
                self.rows.push(Windows::new(partition));
                place
            }
        };
        self.rows[place as usize].advance(clock);
        place
    }

    /// A row that is about to change.
    fn change(&mut self, place: u32) -> &mut Windows {
        let row = &mut self.rows[place as usize];
        if !row.dirty {
            row.dirty = true;
            self.dirty.push(place);
        }
        row
    }

    fn flush(&mut self, redis: &mut redis::Connection, clocks: &[i64]) {
        let dirty = std::mem::take(&mut self.dirty);
        for part in dirty.chunks(1000) {
            let mut pipe = redis::Pipeline::with_capacity(part.len());
            for &place in part {
                let row = &mut self.rows[place as usize];
                row.advance(clocks[row.partition]);
                row.shown = row.sums();
                row.dirty = false;
                let key = format!("{}{}{}", self.prefix, self.names[place as usize], self.suffix);
                let cmd = pipe.cmd("HSET").arg(key);
                for (field, sum) in self.fields.iter().zip(&row.shown) {
                    cmd.arg(*field).arg(sum.units as f64 / 1e6);
                }
                for (field, number) in self.fields[4..].iter().zip(row.numbers()) {
                    cmd.arg(*field).arg(number);
                }
                cmd.ignore();
            }
            pipe.query::<()>(redis).expect("Redis");
        }
    }

    /// At the end: rows whose windows have moved since they were written.
    fn flush_moved(&mut self, redis: &mut redis::Connection, clocks: &[i64]) {
        self.flush(redis, clocks);
        for (place, row) in self.rows.iter_mut().enumerate() {
            row.advance(clocks[row.partition]);
            if row.sums() != row.shown {
                self.dirty.push(place as u32);
            }
        }
        self.flush(redis, clocks);
    }
}

struct Peer {
    schema: Schema,
    clocks: Vec<i64>,
    accounts: Rows,
    known: Vec<Account>, // by the accounts' places
    features: Vec<Rows>,
    records: u64,
}

impl Peer {
    fn on_record(&mut self, msg: &BorrowedMessage) {
        let partition = msg.partition() as usize;
        let clock = self.clocks[partition].max(msg.timestamp().to_millis().unwrap_or(0));
        self.clocks[partition] = clock;
        self.records += 1;
        let bytes = msg.payload().and_then(|p| p.get(5..)).expect("no header");
        let event: Event = serde_avro_fast::from_datum_slice(bytes, &self.schema).expect("Avro");
        if event.kind == Kind::Other {
            return;
        }
        let place = self.accounts.place(event.account_id, partition, clock);
        if self.known.len() <= place as usize {
            self.known.push(Account::default());
        }
        let known = &mut self.known[place as usize];
        if !event.event_id.is_empty() && known.ids.is_duplicate(event.event_id, clock) {
            return;
        }
        let at = event.occurred_at.min(clock);
        let usage = Cell { events: 1, units: (event.quantity * 1e6).round() as i64, ..Cell::default() };
        let row = self.accounts.change(place);
        row.count(at, if event.kind == Kind::Usage { usage } else { LOGIN });
        row.seen[1] = row.seen[1].min(at);
        row.seen[2] = row.seen[2].max(at);
        let mut user = None;
        if let Some(name) = event.user_id.filter(|name| !name.is_empty()) {
            let number = known.users.len() as u32;
            let (number, last) = known.users.entry_ref(name).or_insert((number, 0));
            user = Some(*number);
            row.count_distinct(see(last, at), at, USER);
            row.seen[0] = known.users.len() as i64;
        }
        let (Kind::Usage, Some(name)) = (event.kind, event.feature) else {
            return;
        };
        let place = self.features[partition].place(name, partition, clock);
        let feature = self.features[partition].change(place);
        feature.count(at, usage);
        let was = see(known.features.entry(place).or_insert(0), at);
        row.count_distinct(was, at, OTHER);
        feature.count_distinct(was, at, OTHER);
        if let Some(user) = user {
            feature.count_distinct(see(known.pairs.entry((user, place)).or_insert(0), at), at, USER);
        }
    }

    fn flush(&mut self, redis: &mut redis::Connection) {
        self.accounts.flush(redis, &self.clocks);
        for rows in &mut self.features {
            rows.flush(redis, &self.clocks);
        }
    }
}

fn open_consumer(bootstrap: &str, topic: &str) -> (BaseConsumer, usize) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "peer-rust")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50")
        .set("queued.min.messages", "1000000")
        .create()
        .expect("consumer");
    let meta = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).expect("metadata");
    let partitions = meta.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for p in 0..partitions {
        list.add_partition_offset(topic, p as i32, Offset::Beginning).expect("offset");
    }
    consumer.assign(&list).expect("assign");
    (consumer, partitions)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, port, schema] = &args[..] else {
        eprintln!("usage: peer BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc");
        std::process::exit(64);
    };
    let url = format!("redis://127.0.0.1:{port}");
    let mut redis = redis::Client::open(url).and_then(|c| c.get_connection()).expect("Redis");
    let (consumer, partitions) = open_consumer(bootstrap, topic);
    let mut peer = Peer {
        schema: fs::read_to_string(schema).expect("schema").parse().expect("schema"),
        clocks: vec![0; partitions],
        accounts: Rows::new(&ACCOUNT_FIELDS, "peer:account:", String::new()),
        known: Vec::new(),
        features: (0..partitions).map(|p| Rows::new(&FEATURE_FIELDS, "peer:feature:", format!(":{p}"))).collect(),
        records: 0,
    };
    let mut due = Instant::now() + Duration::from_secs(1);
    let (mut turns, mut ended) = (0u64, 0);
    while ended < partitions {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(msg)) => peer.on_record(&msg),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
        turns += 1;
        if turns % 1024 == 0 && Instant::now() >= due {
            peer.flush(&mut redis);
            due = Instant::now() + Duration::from_secs(1);
        }
    }
    peer.accounts.flush_moved(&mut redis, &peer.clocks);
    for rows in &mut peer.features {
        rows.flush_moved(&mut redis, &peer.clocks);
    }
    println!("{{\"records\": {}}}", peer.records);
}
