public class Main {
    static void fail() {
        throw new IllegalStateException("boom");
    }

    public static void main(String[] args) {
        fail();
    }
}
