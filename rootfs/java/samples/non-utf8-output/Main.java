public class Main {
    public static void main(String[] args) {
        System.out.writeBytes(new byte[] {(byte) 0xff, (byte) 0xfe, 0, 'A', '\n'});
    }
}
