# The compile driver, and an AppCDS archive of the classes that javac loads: half of its time is loading and verifying them.
export JAVA_HOME=/usr/lib/jvm/java-21-openjdk-amd64
internal='api code comp file main model platform tree util'
exports= manifest=Add-Exports:
for p in $internal; do
	exports="$exports --add-exports jdk.compiler/com.sun.tools.javac.$p=ALL-UNNAMED"
	manifest="$manifest jdk.compiler/com.sun.tools.javac.$p"
done
mkdir /tmp/classes
"$JAVA_HOME/bin/javac" $exports -d /tmp/classes Compile.java Javac.java
echo "$manifest" >/tmp/manifest
"$JAVA_HOME/bin/jar" --create --file compile.jar --main-class Compile --manifest /tmp/manifest -C /tmp/classes .
mv Train.java /tmp
rm Compile.java Javac.java

# Flags as in lang.json: an archive made under another collector is refused.
cd /tmp
"$JAVA_HOME/bin/java" -XX:ArchiveClassesAtExit=/usr/lib/runtools/java/compile.jsa -Xlog:cds=off -Xlog:cds+dynamic=off \
	-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -jar /usr/lib/runtools/java/compile.jar Train.java
chmod 644 /usr/lib/runtools/java/compile.jsa
test "$(cat /build/main.args)" = '"Train"'

# Proof that the archive is taken: -Xshare:on fails where auto goes on without.
"$JAVA_HOME/bin/java" -Xshare:on -XX:SharedArchiveFile=/usr/lib/runtools/java/compile.jsa \
	-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -jar /usr/lib/runtools/java/compile.jar Train.java

# The parked runner of both stages.
cd /usr/lib/runtools/java
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now \
	-I"$JAVA_HOME/include" -I"$JAVA_HOME/include/linux" -o parked.so parked.c runner.c
rm parked.c runner.c parked.h zygote.h
