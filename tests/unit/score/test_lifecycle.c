/* Lifecycle of alerts: open, update, escalate, de-escalate, resolve, cool-down. */
int main(void){return 0;}
