package runtools.warm;

import java.util.*;

/** What javac compiles before it has a job (Compile.java): a little of what most programs have. */
public class Warm {
    record Square(double side) {
        double area() {
            return side * side;
        }
    }

    static int sum(List<Integer> values) {
        int total = 0;
        for (int v : values) {
            if (v > 1 && v != 3) {
                total += v;
            }
        }
        return total;
    }

    public static void main(String[] args) {
        Map<String, Integer> counts = new HashMap<>();
        List<Integer> list = new ArrayList<>();
        for (int i = 0; i < args.length; i++) {
            counts.merge(args[i], 1, Integer::sum);
            list.add(i * 2);
        }
        String text = "sum " + sum(list) + " of " + counts.size();
        System.out.println(text);
        System.out.printf("%d %s%n", list.stream().filter(x -> x > 1).count(), new Square(2).area());
        int[] numbers = new int[3];
        try {
            numbers[1] = Integer.parseInt(text);
        } catch (NumberFormatException e) {
            System.out.println(e.getMessage());
        }
    }
}
