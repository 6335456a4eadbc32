//! A peer of `uptake run` for tests/bench/compare: a tuned Rust program.
//!
//!     peer BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc
//!
//! rdkafka's BaseConsumer (messages borrowed, not copied), serde_avro_fast into borrowed strings, hashbrown tables that
//! own their keys once, rows that changed written with one pipeline of HSETs a second. Reads the topic to its end. The
//! work is that of straight.c: see there. Prints records read as JSON.
use std::fs;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use serde_avro_fast::Schema;

const MINUTE: i64 = 60_000;
const FIELDS: [&str; 8] = [
    "events_1h", "units_1h", "events_24h", "units_24h", "events_7d", "units_7d", "events_30d", "units_30d",
];

#[derive(Deserialize)]
struct Event<'a> {
    occurred_at: i64,
    #[serde(borrow)]
    account_id: &'a str,
    kind: Kind,
    #[serde(borrow)]
    feature: Option<&'a str>,
    quantity: f64,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    Usage,
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Cell {
    events: i64,
    units: i64, // millionths
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
            self.sum.events -= old.events;
            self.sum.units -= old.units;
        }
        self.head = bucket;
    }

    #[inline]
    fn add(&mut self, bucket: i64, units: i64) {
        if bucket > self.head - N as i64 {
            let cell = &mut self.cells[bucket as usize % N];
            cell.events += 1;
            cell.units += units;
            self.sum.events += 1;
            self.sum.units += units;
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
        }
    }

    #[inline]
    fn advance(&mut self, clock: i64) {
        self.hour.advance(clock / MINUTE);
        self.day.advance(clock / (60 * MINUTE));
        self.month.advance(clock / (1440 * MINUTE));
    }

    fn sums(&self) -> [Cell; 4] {
        let mut week = Cell::default();
        for b in self.month.head - 6..=self.month.head {
            let cell = &self.month.cells[b as usize % 30];
            week.events += cell.events;
            week.units += cell.units;
        }
        [self.hour.sum, self.day.sum, week, self.month.sum]
    }
}

/// Rows of one kind: a table from name to place, and what changed.
struct Rows {
    prefix: &'static str,
    suffix: String,
    places: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    rows: Vec<Windows>,
    dirty: Vec<u32>,
}

impl Rows {
    fn new(prefix: &'static str, suffix: String) -> Self {
        let (places, names, rows, dirty) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        Rows { prefix, suffix, places, names, rows, dirty }
    }

    fn count(&mut self, name: &str, partition: usize, clock: i64, at: i64, units: i64) {
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
        let row = &mut self.rows[place as usize];
        row.advance(clock);
        row.hour.add(at / MINUTE, units);
        row.day.add(at / (60 * MINUTE), units);
        row.month.add(at / (1440 * MINUTE), units);
        if !row.dirty {
            row.dirty = true;
            self.dirty.push(place);
        }
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
                for (i, field) in FIELDS.iter().enumerate() {
                    let sum = &row.shown[i / 2];
                    if i % 2 == 0 {
                        cmd.arg(*field).arg(sum.events);
                    } else {
                        cmd.arg(*field).arg(sum.units as f64 / 1e6);
                    }
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
        if event.kind != Kind::Usage {
            return;
        }
        let at = event.occurred_at.min(clock);
        let units = (event.quantity * 1e6).round() as i64;
        self.accounts.count(event.account_id, partition, clock, at, units);
        if let Some(feature) = event.feature {
            self.features[partition].count(feature, partition, clock, at, units);
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
        accounts: Rows::new("peer:account:", String::new()),
        features: (0..partitions).map(|p| Rows::new("peer:feature:", format!(":{p}"))).collect(),
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
