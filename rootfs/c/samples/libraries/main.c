#include <math.h>
#include <pthread.h>
#include <stdio.h>

static void *root(void *square) {
	static double result;
	result = sqrt(*(double *)square);
	return &result;
}

int main(void) {
	double square = 2;
	pthread_t thread;
	void *result;
	pthread_create(&thread, 0, root, &square);
	pthread_join(thread, &result);
	printf("%.3f\n", *(double *)result);
}
