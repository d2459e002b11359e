void Fail()
{
    throw new InvalidOperationException("boom");
}

Fail();
