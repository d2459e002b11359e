# Tools that programs start.
set -e
echo x >f
mkdir -p d/e
ln f d/hard
ln -s hard d/soft
cp -a d copy
mv copy moved
chown -h "$(id -u)" moved/soft
nice -n 1 find moved -type l
rm -r d moved f
