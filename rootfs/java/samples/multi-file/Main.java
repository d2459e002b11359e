import tools.Arithmetic;

public class Main {
    public static void main(String[] args) {
        System.out.println("1 + 2 = " + Arithmetic.add(1, 2));
    }
}
