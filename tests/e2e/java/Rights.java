import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Does things one after the other, and prints for each a line with "ok", or what the client says: bootstrap=ADDRESS id=CLIENT-ID,
 * then produce=TOPIC assign=TOPIC group=TOPIC,GROUP create=TOPIC.
 */
public final class Rights {
    private static final Duration PATIENT = Duration.ofSeconds(60);

    public static void main(String[] argv) throws Exception {
        Properties properties = new Properties();
        Args args = new Args(new String[] {argv[0], argv[1]});
        properties.put("bootstrap.servers", args.get("bootstrap"));
        properties.put("client.id", args.get("id"));
        properties.put("default.api.timeout.ms", "30000");
        for (int i = 2; i < argv.length; i++) {
            String[] action = argv[i].split("[=,]");
            System.out.println(attempt(properties, action));
        }
    }

    private static String attempt(Properties common, String[] action) {
        Properties properties = new Properties();
        properties.putAll(common);
        try {
            switch (action[0]) {
                case "produce" -> produce(properties, action[1]);
                case "assign" -> consume(properties, action[1], Optional.empty());
                case "group" -> consume(properties, action[1], Optional.of(action[2]));
                default -> create(properties, action[1]);
            }
            return "ok";
        } catch (Exception e) {
            Throwable cause = e;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return cause.getClass().getSimpleName() + ": " + cause.getMessage();
        }
    }

    private static void produce(Properties properties, String topic) throws Exception {
        properties.put("max.block.ms", "30000");
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>(topic, 0, null, "x")).get();
        }
    }

    private static void consume(Properties properties, String topic, Optional<String> group) {
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        group.ifPresent(name -> properties.put("group.id", name));
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            if (group.isPresent()) {
                consumer.subscribe(List.of(topic));
            } else {
                consumer.assign(List.of(new TopicPartition(topic, 0)));
            }
            for (long end = System.nanoTime() + PATIENT.toNanos(); System.nanoTime() < end;) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (!records.isEmpty()) {
                    if (group.isPresent()) {
                        consumer.commitSync();
                    }
                    return;
                }
            }
            throw new IllegalStateException("no records");
        }
    }

    private static void create(Properties properties, String topic) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        }
    }
}
