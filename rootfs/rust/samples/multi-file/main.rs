mod tools;

fn main() {
    println!("1 + 2 = {}", tools::arithmetic::add(1, 2));
}
