import java.io.BufferedReader;
import java.io.InputStreamReader;

/** The first line of standard input, read beside the main work; null until it has come. */
final class StdinLine {
    private volatile String line;

    StdinLine() {
        Thread reader = new Thread(() -> {
            try {
                String got = new BufferedReader(new InputStreamReader(System.in)).readLine();
                line = got == null ? "" : got.trim();
            } catch (Exception e) {
                line = "";
            }
        });
        reader.setDaemon(true);
        reader.start();
    }

    String get() {
        return line;
    }
}
