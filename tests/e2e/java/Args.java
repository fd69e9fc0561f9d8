import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;

/** Arguments of the form key=value; a key "prop.NAME" goes to the Kafka client as NAME. */
final class Args {
    private final Map<String, String> values = new LinkedHashMap<>();

    Args(String[] argv) {
        for (String arg : argv) {
            int at = arg.indexOf('=');
            if (at < 0) {
                throw new IllegalArgumentException("not key=value: " + arg);
            }
            values.put(arg.substring(0, at), arg.substring(at + 1));
        }
    }

    String get(String key) {
        String value = values.get(key);
        if (value == null) {
            throw new IllegalArgumentException("missing " + key + "=");
        }
        return value;
    }

    String get(String key, String fallback) {
        return values.getOrDefault(key, fallback);
    }

    long number(String key, long fallback) {
        return Long.parseLong(get(key, Long.toString(fallback)));
    }

    void copyProperties(Properties to) {
        values.forEach((key, value) -> {
            if (key.startsWith("prop.")) {
                to.put(key.substring("prop.".length()), value);
            }
        });
    }
}
