/** Formats the storage of several brokers in one JVM: arguments are the cluster id and the properties files. */
public final class FormatStorage {
    public static void main(String[] argv) {
        for (int i = 1; i < argv.length; i++) {
            int rc = kafka.tools.StorageTool.execute(
                    new String[] {"format", "--ignore-formatted", "-t", argv[0], "-c", argv[i]}, System.err);
            if (rc != 0) {
                System.exit(rc);
            }
        }
    }
}
