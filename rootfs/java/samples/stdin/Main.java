import java.util.Arrays;
import java.util.Scanner;

public class Main {
    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        System.out.println(Arrays.stream(in.nextLine().split(" ")).mapToInt(Integer::parseInt).sum());
        System.out.println(in.nextLine().toUpperCase());
    }
}
