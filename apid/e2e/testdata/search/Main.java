import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;

public class Main {
    static String secret, own;

    static void walk(File folder) {
        File[] entries = folder.listFiles();
        if (entries == null) return;
        for (File e : entries) {
            Path path = e.toPath();
            if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) walk(e);
            if (!Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS) || List.of("mem", "kmsg", "pagemap", "kcore").contains(e.getName())) continue;
            try (InputStream in = new FileInputStream(e)) {
                String content = new String(in.readNBytes(1 << 20), StandardCharsets.ISO_8859_1);
                if (content.contains(secret)) System.out.println("SECRET in " + e);
                if (content.contains(own)) System.out.println("own");
            } catch (IOException ignored) {
            }
        }
    }

    public static void main(String[] args) throws IOException {
        Scanner in = new Scanner(System.in);
        secret = new StringBuilder(in.next()).reverse().toString();
        own = new StringBuilder(in.next()).reverse().toString();
        for (String root : args) walk(new File(root));
    }
}
