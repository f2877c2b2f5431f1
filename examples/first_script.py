"""Define, train and test a small convolutional network on pictures of clothing, in ten lines."""

from pyconv import Trainer, nn, optim
from pyconv.data import DataLoader, load_dataset, transforms

data = load_dataset("fashion-mnist")
scale = transforms.Normalize.of(data.train.x)
train = DataLoader(data.train, batch_size=50, shuffle=True, transform=scale)
conv = nn.Sequential(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
model = nn.Sequential(conv, nn.Flatten(), nn.Linear(32 * 13 * 13, 10))
trainer = Trainer(model, optim.Adam(model.parameters(), lr=0.001))
trainer.fit(train, epochs=3)
print(trainer.evaluate(DataLoader(data.test, batch_size=250, transform=scale)))
