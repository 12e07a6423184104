"""What is compared: small servers, each as its field would write it."""
