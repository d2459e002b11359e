use std::io;

fn main() {
    let mut text = String::new();
    io::stdin().read_line(&mut text).unwrap();
    let text = text.trim();
    println!("héllo wörld, 你好 🌍\n{} {text}", text.chars().count());
}
