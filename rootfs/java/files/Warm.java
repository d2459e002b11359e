public class Warm {
    public static void main(String[] args) {
        System.out.println("Hello, " + args.length);
    }
}
