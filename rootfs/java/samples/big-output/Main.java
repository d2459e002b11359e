public class Main {
    public static void main(String[] args) {
        String line = "0123456789abcdef".repeat(4).substring(0, 63);
        for (int i = 0; i < 16384; i++) {
            System.out.println(line);
        }
    }
}
