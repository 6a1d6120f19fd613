import os

password = "hunter2-hunter2"


def deploy(name):
    os.system("deploy --user shop " + name)
