$stdout.binmode.write("\xff\xfe\x00A\n".b)
