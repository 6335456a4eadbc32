/* A peer of `uptake run` for tests/bench/compare: Kafka Streams, the Processor API.
 *
 *     java -cp ... PeerStreams.java BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc STATE_DIR (kv | live)
 *
 * kv     an in-memory KeyValueStore of windows with a serde, as most programs have it: every event reads, decodes,
 *        changes, encodes and writes back (only buckets in use are encoded)
 * live   a StateStore made by hand: a map of live objects
 * Both without changelog and cache: nothing survives a crash, as in the other peers. One stream thread. Rows that
 * changed are written once a second with one Jedis pipeline. Reads to the end that the topic had at the start. The
 * work is that of straight.c: see there. Prints JSON: records, and the process's CPU seconds when the first record was
 * processed (start-up: JVM, classes, joining the group) and at the end. */
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
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
    static final int PIPELINE = 1000;
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

    record Event(boolean usage, String account, String feature, long occurredAt, double quantity) {}

    static final class EventReader implements Deserializer<Event> {
        private final GenericDatumReader<GenericRecord> reader;
        private final int[] at = new int[5];
        private BinaryDecoder decoder;
        private GenericRecord reused;

        EventReader(Schema schema) {
            reader = new GenericDatumReader<>(schema);
            String[] names = {"kind", "account_id", "feature", "occurred_at", "quantity"};
            for (int i = 0; i < names.length; i++) {
                at[i] = schema.getField(names[i]).pos();
            }
        }

        @Override
        public Event deserialize(String topic, byte[] bytes) {
            try {
                decoder = DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, decoder);
                reused = reader.read(reused, decoder);
                Object feature = reused.get(at[2]);
                return new Event("USAGE".equals(reused.get(at[0]).toString()), reused.get(at[1]).toString(),
                    feature == null ? null : feature.toString(), (Long) reused.get(at[3]), (Double) reused.get(at[4]));
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }
    }

    // ---- windows: 60 minutes, 24 hours, 30 days, one after the other in the same arrays ----

    static final class Windows {
        static final int[] SIZE = {60, 24, 30}, FROM = {0, 60, 84};
        static final long[] WIDTH = {MINUTE, 60 * MINUTE, 1440 * MINUTE};
        final long[] head = new long[3], sumEvents = new long[3], sumUnits = new long[3];
        final int[] events = new int[114];
        final long[] units = new long[114]; // millionths
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
                moved |= events[i] != 0;
                sumEvents[r] -= events[i];
                sumUnits[r] -= units[i];
                events[i] = 0;
                units[i] = 0;
            }
            head[r] = bucket;
            return moved;
        }

        void add(long at, long amount) {
            for (int r = 0; r < 3; r++) {
                long bucket = at / WIDTH[r];
                if (bucket > head[r] - SIZE[r]) {
                    int i = FROM[r] + (int) (bucket % SIZE[r]);
                    events[i]++;
                    units[i] += amount;
                    sumEvents[r]++;
                    sumUnits[r] += amount;
                }
            }
        }

        Map<String, String> row() {
            long weekEvents = 0, weekUnits = 0;
            for (long b = head[2] - 6; b <= head[2]; b++) {
                weekEvents += events[FROM[2] + (int) (b % 30)];
                weekUnits += units[FROM[2] + (int) (b % 30)];
            }
            Map<String, String> row = new HashMap<>(16);
            put(row, "1h", sumEvents[0], sumUnits[0]);
            put(row, "24h", sumEvents[1], sumUnits[1]);
            put(row, "7d", weekEvents, weekUnits);
            put(row, "30d", sumEvents[2], sumUnits[2]);
            return row;
        }

        private static void put(Map<String, String> row, String window, long events, long units) {
            row.put("events_" + window, Long.toString(events));
            row.put("units_" + window, Double.toString(units / 1e6));
        }
    }

    static byte[] encode(Windows w) {
        int used = 0;
        for (int n : w.events) {
            used += n != 0 ? 1 : 0;
        }
        ByteBuffer to = ByteBuffer.allocate(3 * 24 + used * 13);
        for (int r = 0; r < 3; r++) {
            to.putLong(w.head[r]).putLong(w.sumEvents[r]).putLong(w.sumUnits[r]);
        }
        for (int i = 0; i < w.events.length; i++) {
            if (w.events[i] != 0) {
                to.put((byte) i).putInt(w.events[i]).putLong(w.units[i]);
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
            w.sumEvents[r] = from.getLong();
            w.sumUnits[r] = from.getLong();
        }
        while (from.hasRemaining()) {
            int i = from.get();
            w.events[i] = from.getInt();
            w.units[i] = from.getLong();
        }
        return w;
    }

    static Serde<Windows> windowsSerde() {
        return Serdes.serdeFrom((topic, w) -> w == null ? null : encode(w), (topic, bytes) -> decode(bytes));
    }

    /** A store of live objects: neither logged nor restored. */
    static final class LiveStore implements StateStore {
        final Map<String, Windows> map = new HashMap<>();

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

    abstract static class Counter implements Processor<String, Event, Void, Void> {
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
            Event event = record.value();
            if (event.usage()) {
                long at = Math.min(event.occurredAt(), clock), units = Math.round(event.quantity() * 1e6);
                count("peer:account:" + event.account(), at, units);
                if (event.feature() != null) {
                    count("peer:feature:" + event.feature() + ":" + partition, at, units);
                }
            }
            if (context.recordMetadata().get().offset() + 1 == ends.get(partition)) {
                flush();
                flushMoved();
                left.countDown();
            }
        }

        protected void write(List<Map.Entry<String, Windows>> rows) {
            Pipeline pipeline = redis.pipelined();
            for (var row : rows) {
                pipeline.hset(row.getKey(), row.getValue().row());
            }
            pipeline.sync();
            rows.clear();
        }

        protected abstract void count(String key, long at, long units);

        protected abstract void flush();

        protected abstract void flushMoved();
    }

    static final class KeyValueCounter extends Counter {
        private KeyValueStore<String, Windows> store;
        private final Set<String> dirty = new HashSet<>();

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            super.init(context);
            store = context.getStateStore("windows");
        }

        @Override
        protected void count(String key, long at, long units) {
            Windows w = store.get(key);
            if (w == null) {
                w = new Windows();
            }
            w.advance(clock);
            w.add(at, units);
            store.put(key, w);
            dirty.add(key);
        }

        @Override
        protected void flush() {
            var rows = new ArrayList<Map.Entry<String, Windows>>(PIPELINE);
            for (String key : dirty) {
                Windows w = store.get(key);
                w.advance(clock);
                rows.add(Map.entry(key, w));
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

    static final class LiveCounter extends Counter {
        private Map<String, Windows> map;
        private List<Map.Entry<String, Windows>> dirty = new ArrayList<>();

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            super.init(context);
            map = ((LiveStore) context.getStateStore("windows")).map;
        }

        @Override
        protected void count(String key, long at, long units) {
            Windows w = map.computeIfAbsent(key, k -> new Windows());
            w.advance(clock);
            w.add(at, units);
            if (!w.dirty) {
                w.dirty = true;
                dirty.add(Map.entry(key, w));
            }
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
            topology.addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("windows"), Serdes.String(),
                windowsSerde()).withLoggingDisabled().withCachingDisabled(), "count");
        }
        return topology;
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
