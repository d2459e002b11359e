# The compile driver, and an AppCDS archive of the classes that javac loads: half of its time is loading and verifying them.
export JAVA_HOME=/usr/lib/jvm/java-21-openjdk-amd64
mkdir /tmp/classes
"$JAVA_HOME/bin/javac" -d /tmp/classes Compile.java
"$JAVA_HOME/bin/jar" --create --file compile.jar --main-class Compile -C /tmp/classes .
mv Train.java /tmp
rm Compile.java

# Flags as in lang.json: an archive made under another collector is refused.
cd /tmp
"$JAVA_HOME/bin/java" -XX:ArchiveClassesAtExit=/usr/lib/runtools/java/compile.jsa -Xlog:cds=off -Xlog:cds+dynamic=off \
	-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -cp /usr/lib/runtools/java/compile.jar Compile Train.java
chmod 644 /usr/lib/runtools/java/compile.jsa
test "$(cat /build/main.args)" = '"Train"'

# Proof that the archive is taken: -Xshare:on fails where auto goes on without.
"$JAVA_HOME/bin/java" -Xshare:on -XX:SharedArchiveFile=/usr/lib/runtools/java/compile.jsa \
	-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -cp /usr/lib/runtools/java/compile.jar Compile Train.java

# The parked runner of both stages.
cd /usr/lib/runtools/java
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now -I"$JAVA_HOME/include" -I"$JAVA_HOME/include/linux" -o parked.so parked.c runner.c
rm parked.c runner.c parked.h zygote.h
