import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Consumes as a member of a group until it has seen a number of records, commits, and prints their digests.
 *
 * bootstrap= topic= group=; count=N records, or count=stdin: the number comes as a line on standard input, while consuming;
 * deadline= seconds. A record delivered again (same offset) counts once; a gap in the offsets is a failure.
 */
public final class Consume {
    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        properties.put("group.id", args.get("group"));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        args.copyProperties(properties);
        StdinLine line = args.get("count").equals("stdin") ? new StdinLine() : null;
        long count = line == null ? args.number("count", 0) : Long.MAX_VALUE;
        long deadline = System.nanoTime() + args.number("deadline", 120) * 1_000_000_000L;
        Digests digests = new Digests();
        Map<Integer, Long> next = new HashMap<>();
        long start = 0;

        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args.get("topic")));
            while (digests.records() < count) {
                if (System.nanoTime() > deadline) {
                    System.err.println("consume: only " + digests.records() + " of " + count + " records at the deadline");
                    System.exit(1);
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (start == 0) {
                        start = System.nanoTime();
                    }
                    long expected = next.getOrDefault(record.partition(), 0L);
                    if (record.offset() > expected) {
                        System.err.println("consume: partition " + record.partition() + ": offset " + record.offset()
                                + " where " + expected + " was due");
                        System.exit(1);
                    }
                    if (record.offset() == expected) {
                        next.put(record.partition(), expected + 1);
                        digests.add(record.partition(), record.value());
                    }
                }
                if (line != null && line.get() != null) {
                    count = Long.parseLong(line.get());
                }
            }
            consumer.commitSync();
        }
        digests.print((System.nanoTime() - start) / 1e9);
    }
}
