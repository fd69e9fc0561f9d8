import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Consumes as the member of a share group until it has seen a number of different records, and prints their digests.
 *
 * bootstrap= topic= group=; count=N records, or count=stdin: the number comes as a line on standard input, while consuming;
 * deadline= seconds. A share group may deliver a record again and in another order: the digests are made in the end, by offset.
 */
public final class ConsumeShare {
    /** Only the group itself can be told: to begin at the start of the topic, and to deliver soon again what nobody acknowledged. */
    private static void configure(Properties properties, String group) throws Exception {
        Properties admins = new Properties();
        admins.put("bootstrap.servers", properties.get("bootstrap.servers"));
        List<AlterConfigOp> settings = new ArrayList<>();
        for (Map.Entry<String, String> entry : Map.of("share.auto.offset.reset", "earliest", "share.record.lock.duration.ms", "15000")
                .entrySet()) {
            settings.add(new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue()), AlterConfigOp.OpType.SET));
        }
        try (Admin admin = Admin.create(admins)) {
            admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group), settings)).all().get();
        }
    }

    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        properties.put("group.id", args.get("group"));
        args.copyProperties(properties);
        StdinLine line = args.get("count").equals("stdin") ? new StdinLine() : null;
        long count = line == null ? args.number("count", 0) : Long.MAX_VALUE;
        long start = System.nanoTime();
        long deadline = start + args.number("deadline", 120) * 1_000_000_000L;
        Map<Integer, Map<Long, byte[]>> seen = new TreeMap<>();
        long records = 0;
        long delivered = 0;

        configure(properties, args.get("group"));
        try (KafkaShareConsumer<byte[], byte[]> consumer =
                new KafkaShareConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args.get("topic")));
            while (records < count) {
                if (System.nanoTime() > deadline) {
                    System.err.println("consume: only " + records + " of " + count + " records at the deadline");
                    System.exit(1);
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    delivered++;
                    Map<Long, byte[]> partition = seen.computeIfAbsent(record.partition(), p -> new TreeMap<>());
                    if (partition.put(record.offset(), record.value()) == null) {
                        records++;
                    }
                }
                consumer.commitAsync();
                if (line != null && line.get() != null) {
                    count = Long.parseLong(line.get());
                }
            }
        }
        Digests digests = new Digests();
        for (Map.Entry<Integer, Map<Long, byte[]>> partition : seen.entrySet()) {
            for (byte[] value : partition.getValue().values()) {
                digests.add(partition.getKey(), value);
            }
        }
        System.err.println("consume: " + (delivered - records) + " records came again");
        digests.print((System.nanoTime() - start) / 1e9);
    }
}
