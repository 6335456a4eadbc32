/* A peer of `uptake run` for tests/bench/compare: Kafka Streams, the Processor API.
 *
 *     java -cp ... PeerStreams.java BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc STATE_DIR (kv | live)
 *
 * kv     in-memory KeyValueStores with serdes, as most programs have it: every event reads, decodes, changes, encodes
 *        and writes back its windows (only buckets in use are encoded); one key each for what is seen and for an id
 * live   a StateStore made by hand: a map of live objects, which hold what they have seen
 * Both without changelog and cache: nothing survives a crash, as in the other peers. One stream thread. Rows that
 * changed are written once a second with one Jedis pipeline. Reads to the end that the topic had at the start. The
 * work is that of straight.c: see there. Prints JSON: records, and the process's CPU seconds when the first record was
 * processed (start-up: JVM, classes, joining the group) and at the end. */
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;

public final class PeerStreams {
    static final long MINUTE = 60_000;
    static final long DEDUP = 10 * MINUTE;
    static final int IDS = 4096, PIPELINE = 1000;
    static final AtomicLong records = new AtomicLong();
    static volatile double startup = -1;
    static Map<Integer, Long> ends;
    static CountDownLatch left;
    static Jedis redis;

    static double cpuSeconds() {
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return os.getProcessCpuTime() / 1e9;
    }

    // ---- events ----

    record Event(String kind, String id, String account, String user, String feature, long occurredAt, double quantity) {}

    static final class EventReader implements Deserializer<Event> {
        private final GenericDatumReader<GenericRecord> reader;
        private final int[] at = new int[7];
        private BinaryDecoder decoder;
        private GenericRecord reused;

        EventReader(Schema schema) {
            reader = new GenericDatumReader<>(schema);
            String[] names = {"kind", "account_id", "feature", "occurred_at", "quantity", "event_id", "user_id"};
            for (int i = 0; i < names.length; i++) {
                at[i] = schema.getField(names[i]).pos();
            }
        }

        @Override
        public Event deserialize(String topic, byte[] bytes) {
            try {
                decoder = DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, decoder);
                reused = reader.read(reused, decoder);
                return new Event(text(0), text(5), text(1), text(6), text(2), (Long) reused.get(at[3]), (Double) reused.get(at[4]));
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }

        private String text(int i) {
            Object found = reused.get(at[i]);
            return found == null ? "" : found.toString();
        }
    }

    // ---- windows: 60 minutes, 24 hours, 30 days, one after the other in the same arrays ----

    static class Windows {
        static final int[] SIZE = {60, 24, 30}, FROM = {0, 60, 84};
        static final long[] WIDTH = {MINUTE, 60 * MINUTE, 1440 * MINUTE};
        /** What is counted; a user or another thing (an account's feature, a feature's account) where it was last seen. */
        static final int EVENTS = 0, LOGINS = 1, USERS = 2, OTHERS = 3, KINDS = 4, BUCKETS = 114;
        final long[] head = new long[3], sumUnits = new long[3];
        final int[] sum = new int[3 * KINDS], count = new int[BUCKETS * KINDS];
        final long[] units = new long[BUCKETS]; // millionths
        long firstSeen, lastSeen, users; // of an account
        boolean dirty;

        /** Moves the windows to the clock; whether a sum changed. */
        boolean advance(long clock) {
            boolean moved = false;
            for (int r = 0; r < 3; r++) {
                long bucket = clock / WIDTH[r];
                if (bucket > head[r]) {
                    moved |= evict(r, bucket);
                }
            }
            return moved;
        }

        private boolean evict(int r, long bucket) {
            boolean moved = r == 2 && head[2] > 0; // the seven days are not summed up: perhaps
            for (long b = Math.max(head[r] + 1, bucket - SIZE[r] + 1); b <= bucket; b++) {
                int i = FROM[r] + (int) (b % SIZE[r]);
                for (int k = 0; k < KINDS; k++) {
                    moved |= count[i * KINDS + k] != 0;
                    sum[r * KINDS + k] -= count[i * KINDS + k];
                    count[i * KINDS + k] = 0;
                }
                sumUnits[r] -= units[i];
                units[i] = 0;
            }
            head[r] = bucket;
            return moved;
        }

        private void add(int r, int kind, long at, int by, long amount) {
            long bucket = at / WIDTH[r];
            if (bucket > head[r] - SIZE[r]) {
                int i = FROM[r] + (int) (bucket % SIZE[r]);
                count[i * KINDS + kind] += by;
                sum[r * KINDS + kind] += by;
                units[i] += amount;
                sumUnits[r] += amount;
            }
        }

        void add(int kind, long at, long amount) {
            for (int r = 0; r < 3; r++) {
                add(r, kind, at, 1, amount);
            }
        }

        /** Moves a thing to where it is last seen; it was seen at `was` before (0: never). */
        void addDistinct(int kind, long was, long at) {
            for (int r = 1; r < 3 && at / WIDTH[1] > was / WIDTH[1]; r++) {
                add(r, kind, was, -1, 0);
                add(r, kind, at, 1, 0);
            }
        }

        Map<String, String> row() {
            int[] week = new int[KINDS];
            long weekUnits = 0;
            for (long b = head[2] - 6; b <= head[2]; b++) {
                int i = FROM[2] + (int) (b % 30);
                for (int k = 0; k < KINDS; k++) {
                    week[k] += count[i * KINDS + k];
                }
                weekUnits += units[i];
            }
            Map<String, String> row = new HashMap<>(32);
            put(row, "1h", sum, 0, sumUnits[0]);
            put(row, "24h", sum, KINDS, sumUnits[1]);
            put(row, "7d", week, 0, weekUnits);
            put(row, "30d", sum, 2 * KINDS, sumUnits[2]);
            row.put(firstSeen > 0 ? "features_30d" : "accounts_30d", Integer.toString(sum[2 * KINDS + OTHERS]));
            if (firstSeen > 0) {
                row.put("users_total", Long.toString(users));
                row.put("first_seen", Long.toString(firstSeen));
                row.put("last_seen", Long.toString(lastSeen));
            }
            return row;
        }

        private void put(Map<String, String> row, String window, int[] sums, int from, long units) {
            row.put("events_" + window, Integer.toString(sums[from + EVENTS]));
            row.put("units_" + window, Double.toString(units / 1e6));
            if (firstSeen > 0) {
                row.put("logins_" + window, Integer.toString(sums[from + LOGINS]));
            }
            if (window.equals("30d") || (firstSeen > 0 && !window.equals("1h"))) {
                row.put("users_" + window, Integer.toString(sums[from + USERS]));
            }
        }

        boolean used(int bucket) {
            int i = bucket * KINDS;
            return (count[i] | count[i + 1] | count[i + 2] | count[i + 3]) != 0;
        }
    }

    static byte[] encode(Windows w) {
        int used = 0;
        for (int i = 0; i < Windows.BUCKETS; i++) {
            used += w.used(i) ? 1 : 0;
        }
        ByteBuffer to = ByteBuffer.allocate(3 * 32 + 24 + used * 25);
        for (int r = 0; r < 3; r++) {
            to.putLong(w.head[r]).putLong(w.sumUnits[r]);
        }
        for (int n : w.sum) {
            to.putInt(n);
        }
        to.putLong(w.firstSeen).putLong(w.lastSeen).putLong(w.users);
        for (int i = 0; i < Windows.BUCKETS; i++) {
            if (w.used(i)) {
                to.put((byte) i).putLong(w.units[i]);
                for (int k = 0; k < Windows.KINDS; k++) {
                    to.putInt(w.count[i * Windows.KINDS + k]);
                }
            }
        }
        return to.array();
    }

    static Windows decode(byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        Windows w = new Windows();
        ByteBuffer from = ByteBuffer.wrap(bytes);
        for (int r = 0; r < 3; r++) {
            w.head[r] = from.getLong();
            w.sumUnits[r] = from.getLong();
        }
        for (int k = 0; k < w.sum.length; k++) {
            w.sum[k] = from.getInt();
        }
        w.firstSeen = from.getLong();
        w.lastSeen = from.getLong();
        w.users = from.getLong();
        while (from.hasRemaining()) {
            int i = from.get();
            w.units[i] = from.getLong();
            for (int k = 0; k < Windows.KINDS; k++) {
                w.count[i * Windows.KINDS + k] = from.getInt();
            }
        }
        return w;
    }

    static Serde<Windows> windowsSerde() {
        return Serdes.serdeFrom((topic, w) -> w == null ? null : encode(w), (topic, bytes) -> decode(bytes));
    }

    static final class LiveWindows extends Windows {
        final Map<String, Long> seen = new HashMap<>();
        final LinkedHashMap<String, Long> ids = new LinkedHashMap<>(); // oldest first
    }

    /** A store of live objects: neither logged nor restored. */
    static final class LiveStore implements StateStore {
        final Map<String, LiveWindows> map = new HashMap<>();

        @Override
        public String name() {
            return "windows";
        }

        @Override
        public void init(StateStoreContext context, StateStore root) {
            context.register(root, (key, value) -> {});
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}

        @Override
        public boolean persistent() {
            return false;
        }

        @Override
        public boolean isOpen() {
            return true;
        }
    }

    static final class LiveBuilder implements StoreBuilder<LiveStore> {
        @Override
        public StoreBuilder<LiveStore> withCachingEnabled() {
            return this;
        }

        @Override
        public StoreBuilder<LiveStore> withCachingDisabled() {
            return this;
        }

        @Override
        public StoreBuilder<LiveStore> withLoggingEnabled(Map<String, String> config) {
            return this;
        }

        @Override
        public StoreBuilder<LiveStore> withLoggingDisabled() {
            return this;
        }

        @Override
        public LiveStore build() {
            return new LiveStore();
        }

        @Override
        public Map<String, String> logConfig() {
            return Map.of();
        }

        @Override
        public boolean loggingEnabled() {
            return false;
        }

        @Override
        public String name() {
            return "windows";
        }
    }

    // ---- the processor: one instance a partition ----

    abstract static class Counter<W extends Windows> implements Processor<String, Event, Void, Void> {
        protected ProcessorContext<Void, Void> context;
        protected long clock;
        private int partition;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            this.context = context;
            partition = context.taskId().partition();
            context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, now -> flush());
        }

        @Override
        public void process(Record<String, Event> record) {
            if (startup < 0) {
                startup = cpuSeconds();
            }
            records.lazySet(records.get() + 1); // one thread
            clock = Math.max(clock, record.timestamp());
            String kind = record.value().kind();
            if (kind.equals("USAGE") || kind.equals("LOGIN")) {
                count(record.value(), kind.equals("USAGE"));
            }
            if (context.recordMetadata().get().offset() + 1 == ends.get(partition)) {
                flush();
                flushMoved();
                left.countDown();
            }
        }

        private void count(Event event, boolean usage) {
            String key = "peer:account:" + event.account();
            W account = open(key);
            if (!event.id().isEmpty() && isDuplicate(key, account, event.id())) {
                return;
            }
            long at = Math.min(event.occurredAt(), clock), units = usage ? Math.round(event.quantity() * 1e6) : 0;
            account.add(usage ? Windows.EVENTS : Windows.LOGINS, at, units);
            account.firstSeen = account.firstSeen == 0 ? at : Math.min(at, account.firstSeen);
            account.lastSeen = Math.max(at, account.lastSeen);
            if (!event.user().isEmpty()) {
                long was = see(key, account, "user " + event.user(), at);
                account.users += was == 0 ? 1 : 0;
                account.addDistinct(Windows.USERS, was, at);
            }
            if (usage && !event.feature().isEmpty()) {
                String featureKey = "peer:feature:" + event.feature() + ":" + partition;
                W feature = open(featureKey);
                feature.add(Windows.EVENTS, at, units);
                long was = see(key, account, "feature " + event.feature(), at);
                account.addDistinct(Windows.OTHERS, was, at);
                feature.addDistinct(Windows.OTHERS, was, at);
                if (!event.user().isEmpty()) {
                    String pair = "pair " + event.user() + "\0" + event.feature();
                    feature.addDistinct(Windows.USERS, see(key, account, pair, at), at);
                }
                close(featureKey, feature);
            }
            close(key, account);
        }

        protected void write(List<? extends Map.Entry<String, ? extends Windows>> rows) {
            Pipeline pipeline = redis.pipelined();
            for (var row : rows) {
                pipeline.hset(row.getKey(), row.getValue().row());
            }
            pipeline.sync();
            rows.clear();
        }

        /** A row's windows, moved to the clock, to be changed. */
        protected abstract W open(String key);

        protected abstract void close(String key, W w);

        /** Whether the account has the id; if not, it has it from now on. */
        protected abstract boolean isDuplicate(String key, W account, String id);

        /** Notes when an account saw a thing; when it did before, 0 if never. */
        protected abstract long see(String key, W account, String thing, long at);

        protected abstract void flush();

        protected abstract void flushMoved();
    }

    record Accepted(String idKey, long clock) {}

    static final class KeyValueCounter extends Counter<Windows> {
        private KeyValueStore<String, Windows> store;
        private KeyValueStore<String, Long> seen;
        private KeyValueStore<String, Long> ids;
        private final Map<String, ArrayDeque<Accepted>> accepted = new HashMap<>(); // of an account, oldest first
        private final Set<String> dirty = new HashSet<>();

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            super.init(context);
            store = context.getStateStore("windows");
            seen = context.getStateStore("seen");
            ids = context.getStateStore("ids");
        }

        @Override
        protected Windows open(String key) {
            Windows w = store.get(key);
            if (w == null) {
                w = new Windows();
            }
            w.advance(clock);
            return w;
        }

        @Override
        protected void close(String key, Windows w) {
            store.put(key, w);
            dirty.add(key);
        }

        @Override
        protected boolean isDuplicate(String key, Windows account, String id) {
            ArrayDeque<Accepted> queue = accepted.computeIfAbsent(key, k -> new ArrayDeque<>());
            while (!queue.isEmpty() && queue.peek().clock() <= clock - DEDUP) {
                ids.delete(queue.remove().idKey());
            }
            String idKey = key + "\0" + id;
            if (ids.get(idKey) != null) {
                return true;
            }
            ids.put(idKey, clock);
            queue.add(new Accepted(idKey, clock));
            if (queue.size() > IDS) {
                ids.delete(queue.remove().idKey());
            }
            return false;
        }

        @Override
        protected long see(String key, Windows account, String thing, long at) {
            Long was = seen.get(key + "\0" + thing);
            if (was == null || at > was) {
                seen.put(key + "\0" + thing, at);
            }
            return was == null ? 0 : was;
        }

        @Override
        protected void flush() {
            var rows = new ArrayList<Map.Entry<String, Windows>>(PIPELINE);
            for (String key : dirty) {
                rows.add(Map.entry(key, open(key)));
                if (rows.size() == PIPELINE) {
                    write(rows);
                }
            }
            write(rows);
            dirty.clear();
        }

        @Override
        protected void flushMoved() {
            var rows = new ArrayList<Map.Entry<String, Windows>>(PIPELINE);
            try (KeyValueIterator<String, Windows> all = store.all()) {
                while (all.hasNext()) {
                    var next = all.next();
                    if (next.value.advance(clock)) {
                        rows.add(Map.entry(next.key, next.value));
                    }
                    if (rows.size() == PIPELINE) {
                        write(rows);
                    }
                }
            }
            write(rows);
        }
    }

    static final class LiveCounter extends Counter<LiveWindows> {
        private Map<String, LiveWindows> map;
        private List<Map.Entry<String, LiveWindows>> dirty = new ArrayList<>();

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            super.init(context);
            map = ((LiveStore) context.getStateStore("windows")).map;
        }

        @Override
        protected LiveWindows open(String key) {
            LiveWindows w = map.computeIfAbsent(key, k -> new LiveWindows());
            w.advance(clock);
            return w;
        }

        @Override
        protected void close(String key, LiveWindows w) {
            if (!w.dirty) {
                w.dirty = true;
                dirty.add(Map.entry(key, w));
            }
        }

        @Override
        protected boolean isDuplicate(String key, LiveWindows account, String id) {
            var oldest = account.ids.values().iterator();
            while (oldest.hasNext() && oldest.next() <= clock - DEDUP) {
                oldest.remove();
            }
            if (account.ids.putIfAbsent(id, clock) != null) {
                return true;
            }
            if (account.ids.size() > IDS) {
                account.ids.remove(account.ids.keySet().iterator().next());
            }
            return false;
        }

        @Override
        protected long see(String key, LiveWindows account, String thing, long at) {
            Long was = account.seen.get(thing);
            if (was == null || at > was) {
                account.seen.put(thing, at);
            }
            return was == null ? 0 : was;
        }

        @Override
        protected void flush() {
            for (int from = 0; from < dirty.size(); from += PIPELINE) {
                var part = new ArrayList<>(dirty.subList(from, Math.min(from + PIPELINE, dirty.size())));
                for (var row : part) {
                    row.getValue().advance(clock);
                    row.getValue().dirty = false;
                }
                write(part);
            }
            dirty.clear();
        }

        @Override
        protected void flushMoved() {
            map.forEach((key, w) -> {
                if (w.advance(clock)) {
                    dirty.add(Map.entry(key, w));
                }
            });
            flush();
        }
    }

    // ---- main ----

    static Map<Integer, Long> endOffsets(String bootstrap, String topic) {
        Properties props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        try (var consumer = new KafkaConsumer<>(props, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
            Map<Integer, Long> found = new HashMap<>();
            consumer.endOffsets(partitions).forEach((p, end) -> found.put(p.partition(), end));
            return found;
        }
    }

    static Topology topology(String topic, Schema schema, boolean live) {
        Topology topology = new Topology();
        topology.addSource("in", new StringDeserializer(), new EventReader(schema), topic);
        if (live) {
            topology.addProcessor("count", LiveCounter::new, "in");
            topology.addStateStore(new LiveBuilder(), "count");
        } else {
            topology.addProcessor("count", KeyValueCounter::new, "in");
            topology.addStateStore(inMemory("windows", windowsSerde()), "count");
            topology.addStateStore(inMemory("seen", Serdes.Long()), "count");
            topology.addStateStore(inMemory("ids", Serdes.Long()), "count");
        }
        return topology;
    }

    static <T> StoreBuilder<KeyValueStore<String, T>> inMemory(String name, Serde<T> serde) {
        return Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(name), Serdes.String(), serde)
            .withLoggingDisabled().withCachingDisabled();
    }

    public static void main(String[] args) throws Exception {
        boolean live = args[5].equals("live");
        ends = endOffsets(args[0], args[1]);
        left = new CountDownLatch((int) ends.values().stream().filter(end -> end > 0).count());
        redis = new Jedis("127.0.0.1", Integer.parseInt(args[2]));
        Properties props = new Properties();
        props.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer-streams-" + ProcessHandle.current().pid());
        props.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        props.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        props.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        props.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        Schema schema = new Schema.Parser().parse(Files.readString(Path.of(args[3])));
        var streams = new KafkaStreams(topology(args[1], schema, live), props);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
        left.await();
        System.out.printf("{\"records\": %d, \"startup_cpu\": %.3f, \"end_cpu\": %.3f}%n", records.get(), startup, cpuSeconds());
        streams.close(Duration.ofSeconds(10));
        redis.close();
    }
}
