package tools;

public class Arithmetic {
    public static int add(int a, int b) {
        return a + b;
    }
}
