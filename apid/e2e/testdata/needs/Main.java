import java.net.InetSocketAddress;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SecureDirectoryStream;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;

class Main {
    public static void main(String[] args) throws Exception {
        new ProcessBuilder("sh", "tools.sh").inheritIO().start().waitFor();
        Path here = Path.of("."), created = Path.of("new");
        try (WatchService watch = here.getFileSystem().newWatchService()) {
            WatchKey key = here.register(watch, StandardWatchEventKinds.ENTRY_CREATE);
            Files.writeString(created, "x".repeat(100_000));
            if (!watch.take().pollEvents().get(0).context().equals(created)) throw new Exception("another file");
            key.cancel();
        }
        try (FileChannel from = FileChannel.open(created);
                ServerSocketChannel server = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0));
                SocketChannel to = SocketChannel.open(server.getLocalAddress())) {
            if (from.transferTo(0, 1000, to) != 1000) throw new Exception("not sent");
        }
        Files.copy(created, Path.of("copy"));
        Files.createSymbolicLink(Path.of("link"), created);
        Files.createLink(Path.of("hard"), created);
        Files.setAttribute(Path.of("link"), "unix:uid", Files.getAttribute(created, "unix:uid"), LinkOption.NOFOLLOW_LINKS);
        try (var stream = (SecureDirectoryStream<Path>) Files.newDirectoryStream(here)) {
            stream.move(Path.of("copy"), stream, Path.of("moved"));
        }
        System.out.println("done");
    }
}
