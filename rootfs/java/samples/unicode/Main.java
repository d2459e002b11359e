import java.util.Scanner;

public class Main {
    public static void main(String[] args) {
        String text = new Scanner(System.in).nextLine();
        System.out.println("héllo wörld, 你好 🌍");
        System.out.println(text.length() + " " + text);
    }
}
