/**
 * A broker and its clients in one JVM, so that one archive has the classes of them all (-XX:ArchiveClassesAtExit). Arguments: the
 * cluster's id, the broker's properties file, and its address.
 */
public final class Archive {
    public static void main(String[] argv) {
        FormatStorage.main(new String[] {argv[0], argv[1]});
        Thread broker = new Thread(() -> kafka.Kafka.main(new String[] {argv[1]}));
        broker.setDaemon(true);
        broker.start();
        // Ends the JVM.
        Features.main(new String[] {"bootstrap=" + argv[2], "nodes=" + argv[2], "replication=1"});
    }
}
