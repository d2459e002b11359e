import java.util.List;
import java.util.Scanner;

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
public class Main {
    record Row(String name, int number) {
        String bar() {
            return "%-8s \033[34m%s\033[0m %d".formatted(name, "█".repeat(number), number);
        }
    }

    public static void main(String[] args) {
        var input = new Scanner(System.in);
        while (input.hasNext()) {
            var row = new Row(input.next(), input.nextInt());
            if (!List.of(args).contains(row.name())) {
                System.out.println(row.bar());
            }
        }
    }
}
