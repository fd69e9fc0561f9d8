import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Tries one feature after the other and prints what became of each, as JSON: "ok", or what failed.
 *
 * bootstrap=; nodes=host:port,... : where describeCluster may say that brokers are; replication=. Works with Kafka 3 clients too.
 */
public final class Features {
    private static final int RECORDS = 50;

    private interface Check {
        void run() throws Exception;
    }

    private final Args args;
    private final Map<String, String> results = new LinkedHashMap<>();
    private final Admin admin;

    private Features(Args args) {
        this.args = args;
        this.admin = Admin.create(properties());
    }

    private Properties properties(String... more) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        args.copyProperties(properties);
        for (int i = 0; i < more.length; i += 2) {
            properties.put(more[i], more[i + 1]);
        }
        return properties;
    }

    private void check(String feature, Check check) {
        try {
            check.run();
            results.put(feature, "ok");
        } catch (Throwable e) {
            Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
            results.put(feature, cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
    }

    private static void expect(boolean condition, String what) {
        if (!condition) {
            throw new IllegalStateException(what);
        }
    }

    private String topic(int partitions) throws Exception {
        String name = "f-" + UUID.randomUUID();
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) args.number("replication", 3)))).all().get();
        return name;
    }

    /** The broker that is asked may not have heard of a new topic yet. */
    private static <T> T whenKnown(Callable<T> question) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (true) {
            try {
                return question.call();
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof UnknownTopicOrPartitionException) || System.nanoTime() > end) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }

    private TopicDescription describe(String topic) throws Exception {
        return whenKnown(() -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic));
    }

    private KafkaProducer<String, String> producer(String... more) {
        return new KafkaProducer<>(properties(more), new StringSerializer(), new StringSerializer());
    }

    private KafkaConsumer<String, String> consumer(String group, String... more) {
        Properties properties = properties(more);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("isolation.level", "read_committed");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    private static void send(KafkaProducer<String, String> producer, String topic, String what, int count) throws Exception {
        List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            sent.add(producer.send(new ProducerRecord<>(topic, null, null, what + i)));
        }
        producer.flush();
        for (java.util.concurrent.Future<?> future : sent) {
            future.get();
        }
    }

    private static Set<String> values(String what, int count) {
        Set<String> values = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            values.add(what + i);
        }
        return values;
    }

    /** Reads as a member of a new group until all are there; more than these is a failure. */
    private String read(String topic, Set<String> due, String... more) throws Exception {
        String group = "g-" + UUID.randomUUID();
        Set<String> seen = new TreeSet<>();
        try (KafkaConsumer<String, String> consumer = consumer(group, more)) {
            consumer.subscribe(List.of(topic));
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (seen.size() < due.size() && System.nanoTime() < end) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    expect(seen.add(record.value()), record.value() + " came twice");
                }
            }
            expect(seen.equals(due), seen.size() + " of " + due.size() + " records, or others");
            consumer.commitSync();
        }
        long committed = 0;
        for (OffsetAndMetadata offset : admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values()) {
            committed += offset.offset();
        }
        expect(committed >= due.size(), "committed offsets are " + committed);
        return group;
    }

    private void produce(String acks, String idempotence) throws Exception {
        String topic = topic(3);
        Set<String> due = values("v", RECORDS);
        if (acks.equals("0")) { // lost without a word when the topic is so new that its leaders are not there yet
            due.addAll(values("first", RECORDS));
            try (KafkaProducer<String, String> producer = producer()) {
                send(producer, topic, "first", RECORDS);
            }
        }
        try (KafkaProducer<String, String> producer = producer("acks", acks, "enable.idempotence", idempotence)) {
            send(producer, topic, "v", RECORDS);
        }
        read(topic, due);
    }

    private void compression() throws Exception {
        String topic = topic(3);
        Set<String> due = new TreeSet<>();
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer("compression.type", codec, "linger.ms", "5")) {
                send(producer, topic, codec, RECORDS);
            }
            due.addAll(values(codec, RECORDS));
        }
        read(topic, due);
    }

    private void transactions() throws Exception {
        String in = topic(2);
        String out = topic(2);
        try (KafkaProducer<String, String> producer = producer("transactional.id", "t-" + UUID.randomUUID())) {
            producer.initTransactions();
            producer.beginTransaction();
            send(producer, in, "aborted", RECORDS);
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, in, "v", RECORDS);
            producer.commitTransaction();
            read(in, values("v", RECORDS));
            transform(producer, in, out);
        }
        read(out, values("out-v", RECORDS));
    }

    /** Consume, transform, produce: records and offsets in one transaction. */
    private void transform(KafkaProducer<String, String> producer, String in, String out) throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer("g-" + UUID.randomUUID())) {
            consumer.subscribe(List.of(in));
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            for (int done = 0; done < RECORDS && System.nanoTime() < end; ) {
                Map<TopicPartition, OffsetAndMetadata> offsets = new LinkedHashMap<>();
                producer.beginTransaction();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    producer.send(new ProducerRecord<>(out, null, null, "out-" + record.value()));
                    offsets.put(new TopicPartition(in, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                    done++;
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                producer.commitTransaction();
            }
        }
    }

    private void describeCluster() throws Exception {
        Set<String> allowed = Set.of(args.get("nodes").split(","));
        Collection<Node> nodes = admin.describeCluster().nodes().get();
        expect(!nodes.isEmpty(), "no nodes");
        for (Node node : nodes) {
            expect(allowed.contains(node.host() + ":" + node.port()), "node " + node + " is none of " + allowed);
        }
    }

    private void topics() throws Exception {
        String topic = topic(4);
        expect(describe(topic).partitions().size() == 4, "partitions");
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!admin.listTopics().names().get().contains(topic)) { // another broker may not have heard of it yet
            expect(System.nanoTime() < end, "not listed");
        }
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private void configs() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(1));
        whenKnown(() -> admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(
                new ConfigEntry("retention.ms", "4711"), AlterConfigOp.OpType.SET)))).all().get());
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        String seen = null;
        while (!"4711".equals(seen) && System.nanoTime() < end) {
            seen = whenKnown(() -> admin.describeConfigs(List.of(resource)).all().get()).get(resource).get("retention.ms").value();
        }
        expect("4711".equals(seen), "retention.ms is " + seen);
        for (Node node : admin.describeCluster().nodes().get()) {
            ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
            expect(node.idString().equals(admin.describeConfigs(List.of(broker)).all().get().get(broker).get("node.id").value()),
                    "another broker answered for " + node);
        }
    }

    private void groups() throws Exception {
        String topic = topic(1);
        try (KafkaProducer<String, String> producer = producer()) {
            send(producer, topic, "v", 3);
        }
        String group = read(topic, values("v", 3));
        expect(admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupId().equals(group), "not described");
        expect(admin.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "not listed");
        admin.deleteConsumerGroups(List.of(group)).all().get();
    }

    private void offsetsAndDeletion(boolean delete) throws Exception {
        TopicPartition partition = new TopicPartition(topic(1), 0);
        try (KafkaProducer<String, String> producer = producer()) {
            send(producer, partition.topic(), "v", 10);
        }
        if (delete) {
            whenKnown(() -> admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get());
        }
        long first = whenKnown(() -> admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get()).offset();
        long last = whenKnown(() -> admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get()).offset();
        expect(first == (delete ? 4 : 0) && last == 10, "offsets " + first + " to " + last);
    }

    /** Moves the preferred leader, elects it, and produces to it. */
    private void electLeaders() throws Exception {
        TopicPartition partition = new TopicPartition(topic(1), 0);
        List<Integer> replicas = new ArrayList<>();
        describe(partition.topic()).partitions().get(0).replicas()
                .forEach(node -> replicas.add(node.id()));
        replicas.add(replicas.remove(0));
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        int leader = -1;
        while (leader != replicas.get(0) && System.nanoTime() < end) {
            try {
                admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get();
                leader = describe(partition.topic())
                        .partitions().get(0).leader().id();
            } catch (ExecutionException e) {
                Thread.sleep(50); // the reassignment is not through yet
            }
        }
        expect(leader == replicas.get(0), "leader is " + leader + ", preferred " + replicas);
        admin.listPartitionReassignments().reassignments().get();
    }

    private void run() {
        check("produce acks=0", () -> produce("0", "false"));
        check("produce acks=1", () -> produce("1", "false"));
        check("produce acks=all", () -> produce("all", "false"));
        check("idempotent producer", () -> produce("all", "true"));
        check("transactions", this::transactions);
        check("compression", this::compression);
        check("consumer group (classic)", () -> group("classic"));
        if (args.get("modern", "true").equals("true")) {
            check("consumer group (KIP-848)", () -> group("consumer"));
            check("share group", () -> Share.check(admin, properties(), topic(2), args));
        }
        check("admin: topics", this::topics);
        check("admin: configs", this::configs);
        check("admin: groups", this::groups);
        check("admin: describe cluster", this::describeCluster);
        check("admin: delete records", () -> offsetsAndDeletion(true));
        check("admin: list offsets", () -> offsetsAndDeletion(false));
        check("admin: elect leaders", this::electLeaders);
    }

    private void group(String protocol) throws Exception {
        String topic = topic(3);
        try (KafkaProducer<String, String> producer = producer()) {
            send(producer, topic, "v", RECORDS);
        }
        // Clients of Kafka 3 know no other protocol, and not the setting.
        read(topic, values("v", RECORDS), protocol.equals("classic") ? new String[0] : new String[] {"group.protocol", protocol});
    }

    private static String quoted(String text) {
        byte[] bytes = String.valueOf(text).replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\s+", " ").getBytes(StandardCharsets.UTF_8);
        return "\"" + new String(bytes, StandardCharsets.UTF_8) + "\"";
    }

    public static void main(String[] argv) {
        Features features = new Features(new Args(argv));
        features.run();
        List<String> lines = new ArrayList<>();
        features.results.forEach((feature, result) -> lines.add(quoted(feature) + ": " + quoted(result)));
        System.out.println("{" + String.join(", ", lines) + "}");
        System.exit(0);
    }
}
