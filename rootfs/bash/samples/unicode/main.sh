read -r text
echo "héllo wörld, 你好 🌍"
echo "${#text} $text"
