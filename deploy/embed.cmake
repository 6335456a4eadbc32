# Writes a file's bytes as a C array, NUL at the end. Called by upt_embed.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include <stddef.h>\nextern const unsigned char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_len;\n"
    "const unsigned char ${SYMBOL}[] = {${bytes}0};\nconst size_t ${SYMBOL}_len = sizeof(${SYMBOL}) - 1;\n")
