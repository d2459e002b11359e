package shop;

interface Priced {
    int price();
}

public class Checkout {
    record Item(String name, int price) implements Priced {}

    public static void main(String[] args) {
        System.out.println(new Item("tea", 3) + " " + args[0]);
    }
}
