import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Not run: compiling it makes javac load the classes that ordinary programs need, for the AppCDS archive. */
public class Train {
    sealed interface Shape permits Circle, Square {}

    record Circle(double radius) implements Shape {}

    record Square(double side) implements Shape {}

    enum Level { LOW, HIGH }

    @FunctionalInterface
    interface Operation<T extends Comparable<T>> {
        T apply(T a, T b);
    }

    static class Counter<K> {
        private final Map<K, Integer> counts = new HashMap<>();

        void add(K key) {
            counts.merge(key, 1, Integer::sum);
        }
    }

    static class Broken extends RuntimeException {
        Broken(String message, Throwable cause) {
            super(message, cause);
        }
    }

    static double area(Shape shape) {
        return switch (shape) {
            case Circle c when c.radius() > 10 -> -1;
            case Circle(double r) -> Math.PI * r * r;
            case Square s -> s.side() * s.side();
        };
    }

    static synchronized long sum(int... values) {
        long total = 0;
        for (int v : values) {
            total += v;
        }
        return total;
    }

    public static void main(String[] args) throws Exception {
        List<String> words = new ArrayList<>(List.of("one", "two", "three"));
        Map<Integer, List<String>> byLength = words.stream().filter(w -> !w.isEmpty()).collect(Collectors.groupingBy(String::length));
        Counter<String> counter = new Counter<>();
        outer:
        for (int i = 0; i < 10; i++) {
            for (var w : words) {
                if (i == 5) {
                    break outer;
                }
                counter.add(w + i);
            }
        }
        Function<Integer, Integer> square = x -> x * x;
        Operation<Integer> larger = (a, b) -> a.compareTo(b) > 0 ? a : b;
        Object o = larger.apply(square.apply(3), 4);
        if (o instanceof Integer n && n > 3) {
            System.out.printf("%d %s%n", n, byLength);
        }
        String text = """
                block
                """;
        int[][] grid = new int[3][4];
        grid[1][2] += (int) sum(1, 2, 3) << 2;
        try (Scanner in = new Scanner(System.in)) {
            while (in.hasNextLine()) {
                text += in.nextLine();
            }
        } catch (IllegalStateException | ArithmeticException e) {
            throw new Broken("read", e);
        } finally {
            System.out.println(IntStream.rangeClosed(1, 5).mapToObj(Integer::toString).collect(Collectors.joining(",")));
        }
        Runnable later = new Runnable() {
            @Override
            public void run() {
                System.out.println(area(new Circle(1)) + Level.valueOf("LOW").ordinal());
            }
        };
        Thread t = new Thread(later);
        t.start();
        t.join();
        switch (text.length()) {
            case 0:
                System.exit(1);
                break;
            default:
                assert text != null : "never";
        }
        do {
            text = text.isEmpty() ? "x" : text.substring(1);
        } while (text.length() > 1);
    }
}
