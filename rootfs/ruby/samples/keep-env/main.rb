ENV["KEPT"] = "left by the program"
fork { ENV["FROM_CHILD"] = "must not be handed out" }
Process.wait
p ENV["LD_PRELOAD"]
