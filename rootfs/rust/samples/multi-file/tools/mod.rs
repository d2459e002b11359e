pub mod arithmetic;
