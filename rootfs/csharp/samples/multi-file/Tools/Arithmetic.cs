namespace Tools;

public static class Arithmetic
{
    public static int Add(int a, int b) => a + b;
}
