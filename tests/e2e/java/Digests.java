import java.security.MessageDigest;
import java.util.Map;
import java.util.TreeMap;

/** SHA-256 over the values of each partition, in order, and the totals: what both ends print and the tests compare. */
final class Digests {
    private final Map<Integer, MessageDigest> perPartition = new TreeMap<>();
    private long records;
    private long bytes;

    void add(int partition, byte[] value) throws Exception {
        MessageDigest digest = perPartition.get(partition);
        if (digest == null) {
            digest = MessageDigest.getInstance("SHA-256");
            perPartition.put(partition, digest);
        }
        digest.update(value);
        records++;
        bytes += value.length;
    }

    long records() {
        return records;
    }

    void print(double seconds) {
        StringBuilder out = new StringBuilder();
        out.append(String.format("{\"records\": %d, \"bytes\": %d, \"seconds\": %.3f, \"partitions\": {", records, bytes, seconds));
        String comma = "";
        for (Map.Entry<Integer, MessageDigest> entry : perPartition.entrySet()) {
            out.append(comma).append('"').append(entry.getKey()).append("\": \"");
            for (byte b : entry.getValue().digest()) {
                out.append(String.format("%02x", b));
            }
            out.append('"');
            comma = ", ";
        }
        System.out.println(out.append("}}"));
        System.out.flush();
    }
}
