use std::io;

fn main() {
    let mut lines = io::stdin().lines().map(|line| line.unwrap());
    let sum: i32 = lines.next().unwrap().split(' ').map(|n| n.parse::<i32>().unwrap()).sum();
    println!("{sum}\n{}", lines.next().unwrap().to_uppercase());
}
